//! Where people are led from here.

use std::{slice, sync::Arc};

use parking_lot::RwLock;
use prometheus::{GaugeVec, Opts, Registry};

use crate::config::{Config, RunUrl};

/// What the configuration in force says about addresses for people. Clones share it.
#[derive(Clone)]
pub(super) struct Links {
    external_url: GaugeVec,
    run_url: Arc<RwLock<Option<RunUrl>>>,
}

impl Links {
    /// Registers the family, which has no series yet.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let external_url = GaugeVec::new(
            Opts::new(
                "cortex_workflow_exporter_external_url_info",
                "Where people reach the exporter; always 1.",
            ),
            &["url"],
        )?;
        registry.register(Box::new(external_url.clone()))?;
        Ok(Self { external_url, run_url: Arc::default() })
    }

    /// Leads people as this configuration says from now on.
    pub(super) fn replace(&self, config: &Config) {
        self.external_url.reset();
        if let Some(url) = &config.web.external_url {
            self.external_url.with_label_values(slice::from_ref(url)).set(1.0);
        }
        self.run_url.write().clone_from(&config.run_url);
    }

    /// Where people see a run, if that is configured.
    pub(super) fn run_url(&self) -> Option<RunUrl> {
        self.run_url.read().clone()
    }
}
