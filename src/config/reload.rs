//! What a running exporter can take over of another configuration.

use super::{Config, WebConfig};

impl Config {
    /// The same, with the files of its web configuration read anew. The error is all that is wrong
    /// with them.
    pub fn with_web_config_read_anew(&self) -> Result<Self, String> {
        let mut config = self.clone();
        if let Some(file) = &self.web.config.file {
            config.web.config = WebConfig::read(file).map_err(|errors| errors.join("\n"))?;
        }
        Ok(config)
    }

    /// The settings that are others than before and can change only by a restart, as the
    /// configuration file calls them.
    pub fn fixed_settings_changed(&self, before: &Self) -> Vec<&'static str> {
        let (web, web_before) = (&self.web, &before.web);
        let (metrics, metrics_before) = (&self.metrics, &before.metrics);
        let fixed = [
            ("state.url", self.state.url == before.state.url),
            ("metrics.labels", metrics.labels == metrics_before.labels),
            ("metrics.created_lines", metrics.created_lines == metrics_before.created_lines),
            ("metrics.hold_timeout", metrics.hold_timeout == metrics_before.hold_timeout),
            ("web.listen_address", web.listen_addresses == web_before.listen_addresses),
            ("web.telemetry_path", web.telemetry_path == web_before.telemetry_path),
            ("web.max_requests", web.max_requests == web_before.max_requests),
            ("log.format", self.log.format == before.log.format),
        ];
        fixed.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}
