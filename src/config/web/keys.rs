//! The keys of the web configuration file.

/// A key that the file may have.
#[derive(Clone, Copy, Debug)]
pub struct WebKey {
    /// Its sections and itself, with dots between them. `<name>` stands for any.
    pub path: &'static str,
    /// What holds without it, as it would be written; empty for nothing.
    pub default: &'static str,
}

const fn key(path: &'static str, default: &'static str) -> WebKey {
    WebKey { path, default }
}

/// All keys, as exporter-toolkit has them.
pub const WEB_CONFIG_KEYS: [WebKey; 22] = [
    key("tls_server_config.cert", ""),
    key("tls_server_config.cert_file", ""),
    key("tls_server_config.key", ""),
    key("tls_server_config.key_file", ""),
    key("tls_server_config.client_ca", ""),
    key("tls_server_config.client_ca_file", ""),
    key("tls_server_config.client_auth_type", "NoClientCert"),
    key("tls_server_config.client_allowed_sans", ""),
    key("tls_server_config.min_version", "TLS12"),
    key("tls_server_config.max_version", "TLS13"),
    key("tls_server_config.cipher_suites", ""),
    key("tls_server_config.prefer_server_cipher_suites", "true"),
    key("tls_server_config.curve_preferences", ""),
    key("http_server_config.http2", ""),
    key("http_server_config.headers.Content-Security-Policy", ""),
    key("http_server_config.headers.X-Frame-Options", ""),
    key("http_server_config.headers.X-Content-Type-Options", ""),
    key("http_server_config.headers.X-XSS-Protection", ""),
    key("http_server_config.headers.Strict-Transport-Security", ""),
    key("basic_auth_users.<name>", ""),
    key("rate_limit.interval", "0"),
    key("rate_limit.burst", "0"),
];

/// The keys by their paths; the users are one of them.
pub(super) fn paths() -> Vec<&'static str> {
    WEB_CONFIG_KEYS.iter().map(|key| key.path.trim_end_matches(".<name>")).collect()
}
