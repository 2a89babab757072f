{{- define "exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "exporter.fullname" -}}
{{- $name := include "exporter.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "exporter.serviceAccountName" -}}
{{- $own := ternary (include "exporter.fullname" .) "default" .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default $own }}
{{- end }}

{{- define "exporter.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "exporter.apiKeySecret" -}}
{{- .Values.apiKey.existingSecret | default (printf "%s-api-key" (include "exporter.fullname" .) ) }}
{{- end }}

{{- /* The configuration file: what the chart knows, and what the values say. */}}
{{- define "exporter.config" -}}
{{- $known := dict "cortex" (dict "api_key_file" (printf "/run/secrets/cortex/%s" .Values.apiKey.secretKey)) }}
{{- mustMergeOverwrite $known (deepCopy .Values.config) | toYaml }}
{{- end }}

{{- /* A probe, over HTTPS if that is what is served. */}}
{{- define "exporter.probe" -}}
{{- $probe := deepCopy .probe }}
{{- if and .tls $probe.httpGet }}
{{- $_ := set $probe.httpGet "scheme" "HTTPS" }}
{{- end }}
{{- toYaml $probe }}
{{- end }}

{{- /* Several exporters on different nodes, if there are as many. */}}
{{- define "exporter.affinity" -}}
{{- if .Values.affinity }}
{{- toYaml .Values.affinity }}
{{- else if gt (int .Values.replicaCount) 1 -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "exporter.selectorLabels" . | nindent 12 }}
{{- end }}
{{- end }}

{{- /* The only endpoint of a monitor, whose values are `.monitor`. */}}
{{- define "exporter.endpoint" -}}
- port: http
  path: {{ dig "web" "telemetry_path" "/metrics" .Values.config }}
  {{- if .Values.webConfig.tls }}
  scheme: https
  {{- end }}
  {{- range $key := list "interval" "scrapeTimeout" "basicAuth" "tlsConfig" "relabelings" "metricRelabelings" }}
  {{- with get $.monitor $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if and .Values.postgresql.existingSecret (not .monitor.metricRelabelings) }}
  # What only the leader shows continues at the next leader, in the same series.
  metricRelabelings:
    {{- range list "instance" "pod" }}
    - sourceLabels: [__name__, workflow_id]
      regex: cortex_workflow_exporter_(up|last_success_timestamp_seconds|external_url_info);|.+;.+
      targetLabel: {{ . }}
      replacement: leader
    {{- end }}
  {{- end }}
{{- end }}

{{- /* What the schema cannot see: values that contradict each other. All of it at once. */}}
{{- define "exporter.validate" -}}
{{- $wrong := list }}
{{- if not .Values.image.repository }}
{{- $wrong = append $wrong "image.repository is missing: no image is published; build deploy/Dockerfile, push the image, and set its name here" }}
{{- end }}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.postgresql.existingSecret) }}
{{- $wrong = append $wrong (printf "replicaCount: %v exporters cannot run on one ledger in SQLite; set postgresql.existingSecret, or set replicaCount to 1" .Values.replicaCount) }}
{{- end }}
{{- with .Values.apiKey }}
{{- if and .value .existingSecret }}
{{- $wrong = append $wrong "apiKey.value and apiKey.existingSecret are both set; remove one" }}
{{- else if not (or .value .existingSecret) }}
{{- $wrong = append $wrong "there is no API key: set apiKey.existingSecret to the name of a Secret that holds it (or apiKey.value to the key)" }}
{{- end }}
{{- end }}
{{- if .Values.persistence.existingClaim }}
{{- if not .Values.persistence.enabled }}
{{- $wrong = append $wrong "persistence.existingClaim is set, but persistence.enabled is false; set it to true, or remove the claim" }}
{{- else if .Values.postgresql.existingSecret }}
{{- $wrong = append $wrong "persistence.existingClaim holds a ledger in SQLite, and postgresql.existingSecret names one in PostgreSQL; remove one" }}
{{- end }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- $wrong = append $wrong "podMonitor.enabled and serviceMonitor.enabled are both true: everything would be scraped twice; set one to false" }}
{{- end }}
{{- if and .Values.webConfig.tls (not .Values.webConfig.existingSecret) }}
{{- $wrong = append $wrong "webConfig.tls is true, but there is no web configuration; set webConfig.existingSecret" }}
{{- end }}
{{- $owned := dict "cortex.api_key_file" "apiKey" "state.url" "postgresql.existingSecret" "web.listen_address" "service.port" "web.config" "webConfig.existingSecret" }}
{{- range $key, $value := $owned }}
{{- $path := splitList "." $key }}
{{- if hasKey (get $.Values.config (first $path) | default dict) (last $path) }}
{{- $wrong = append $wrong (printf "config.%s is set by the chart; use %s instead" $key $value) }}
{{- end }}
{{- end }}
{{- $owned := dict "CORTEX_API_KEY" "apiKey" "CORTEX_API_KEY_FILE" "apiKey" "CORTEX_EXPORTER_CONFIG_FILE" "config" "CORTEX_EXPORTER_STATE_URL" "postgresql.existingSecret" "CORTEX_EXPORTER_WEB_CONFIG_FILE" "webConfig.existingSecret" "CORTEX_EXPORTER_WEB_LISTEN_ADDRESS" "service.port" }}
{{- range .Values.extraEnv }}
{{- if hasKey $owned .name }}
{{- $wrong = append $wrong (printf "extraEnv: %s is set by the chart; use %s instead" .name (get $owned .name)) }}
{{- end }}
{{- end }}
{{- with $wrong }}
{{- fail (printf "these values cannot work:\n- %s" (join "\n- " .)) }}
{{- end }}
{{- end }}
