//! Which metrics and labels an expression uses, held against those that there are.

use std::collections::{BTreeMap, BTreeSet};

use cortex_workflow_exporter::metrics::FAMILIES;
use promql_parser::{
    label::Labels as Named,
    parser::{
        AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
        VectorSelector, parse,
    },
};

use super::documents::{all_documents, documented_families};

/// Names of labels.
pub(crate) type Labels = BTreeSet<String>;

/// What Prometheus adds to each series that it scrapes.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// What each aggregation gives back as it is: whole samples, or a sample per label set.
const KEEPING: [&str; 4] = ["topk", "bottomk", "limitk", "limit_ratio"];

/// The metrics that there are, with the labels that each can have.
pub(crate) struct Catalogue(BTreeMap<String, Labels>);

impl Catalogue {
    /// What a Prometheus has that scrapes the exporter: the families of the code's table, those
    /// that the documents list (`docs.rs` holds it against what is served), and Prometheus' own.
    pub(crate) fn new() -> Self {
        let mut catalogue = Self(BTreeMap::new());
        for (name, (kind, labels)) in documented_families(&all_documents()) {
            catalogue.add_family(&name, &kind, labels);
        }
        for family in FAMILIES.iter() {
            let kind = format!("{:?}", family.kind()).to_lowercase();
            let labels = family.labels().map(str::to_owned);
            catalogue.add_family(family.name, &kind, labels.collect());
        }
        for name in ["up", "scrape_duration_seconds", "scrape_samples_scraped"] {
            catalogue.add_family(name, "gauge", Labels::new());
        }
        catalogue
    }

    fn add_family(&mut self, name: &str, kind: &str, mut labels: Labels) {
        labels.extend(OF_TARGETS.map(str::to_owned));
        if kind != "histogram" {
            self.add(name, labels);
            return;
        }
        for end in ["_sum", "_count"] {
            self.add(&format!("{name}{end}"), labels.clone());
        }
        labels.insert("le".into());
        self.add(&format!("{name}_bucket"), labels);
    }

    /// Adds a metric, as a recording rule makes one. Whether that changed anything.
    pub(crate) fn add(&mut self, name: &str, labels: Labels) -> bool {
        self.0.insert(name.into(), labels.clone()) != Some(labels)
    }

    /// The labels that the result of an expression can have. Otherwise what is wrong with it: all
    /// metrics and labels in it that there can't be.
    pub(crate) fn check(&self, expression: &str) -> Result<Labels, Vec<String>> {
        let parsed = parse(expression).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let labels = self.labels(&parsed, &mut errors);
        if errors.is_empty() { Ok(labels) } else { Err(errors) }
    }

    fn labels(&self, expression: &Expr, errors: &mut Vec<String>) -> Labels {
        match expression {
            Expr::Aggregate(aggregate) => self.aggregated(aggregate, errors),
            Expr::Unary(unary) => self.labels(&unary.expr, errors),
            Expr::Binary(binary) => self.combined(binary, errors),
            Expr::Paren(inside) => self.labels(&inside.expr, errors),
            Expr::Subquery(inside) => self.labels(&inside.expr, errors),
            Expr::VectorSelector(selector) => self.selected(selector, errors),
            Expr::MatrixSelector(range) => self.selected(&range.vs, errors),
            Expr::Call(call) => self.called(call, errors),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Labels::new(),
            Expr::Extension(_) => unreachable!("the parser makes none"),
        }
    }

    fn selected(&self, selector: &VectorSelector, errors: &mut Vec<String>) -> Labels {
        let Some(name) = &selector.name else {
            errors.push(format!("{selector} does not name its metric"));
            return Labels::new();
        };
        let Some(labels) = self.0.get(name) else {
            errors.push(format!("there is no metric {name}"));
            return Labels::new();
        };
        let alternatives = selector.matchers.or_matchers.iter().flatten();
        for matcher in selector.matchers.matchers.iter().chain(alternatives) {
            require(&matcher.name, labels, name, errors);
        }
        labels.clone()
    }

    fn called(&self, call: &Call, errors: &mut Vec<String>) -> Labels {
        let arguments = &call.args.args;
        let mut labels = Labels::new();
        for argument in arguments {
            labels.extend(self.labels(argument, errors));
        }
        match call.func.name {
            "scalar" => labels.clear(),
            "histogram_quantile" => {
                require("le", &labels, "histogram_quantile", errors);
                labels.remove("le");
            }
            "label_replace" | "label_join" => {
                if let Some(Expr::StringLiteral(made)) = arguments.get(1).map(AsRef::as_ref) {
                    labels.insert(made.val.clone());
                }
            }
            _ => {}
        }
        labels
    }

    fn aggregated(&self, aggregate: &AggregateExpr, errors: &mut Vec<String>) -> Labels {
        let mut labels = self.labels(&aggregate.expr, errors);
        let within = format!("{}", aggregate.expr);
        let modifier = aggregate.modifier.as_ref();
        for label in modifier.map_or(&[][..], |modifier| names(modifier.labels())) {
            require(label, &labels, &within, errors);
        }
        let operator = aggregate.op.to_string();
        if KEEPING.contains(&operator.as_str()) {
            return labels;
        }
        match modifier {
            None => labels.clear(),
            Some(LabelModifier::Include(kept)) => labels = set(kept),
            Some(LabelModifier::Exclude(gone)) => {
                labels.retain(|label| !gone.labels.contains(label));
            }
        }
        if operator == "count_values"
            && let Some(Expr::StringLiteral(made)) = aggregate.param.as_deref()
        {
            labels.insert(made.val.clone());
        }
        labels
    }

    fn combined(&self, binary: &BinaryExpr, errors: &mut Vec<String>) -> Labels {
        let [left, right] = [&binary.lhs, &binary.rhs].map(|side| self.labels(side, errors));
        let operator = binary.op.to_string();
        let of_sets = ["and", "or", "unless"].contains(&operator.as_str());
        let Some(modifier) = &binary.modifier else {
            return match operator.as_str() {
                "and" | "unless" => left,
                _ => left.union(&right).cloned().collect(),
            };
        };
        let both: Labels = left.union(&right).cloned().collect();
        let mut result = both.clone();
        match &modifier.matching {
            Some(LabelModifier::Include(on)) => {
                for label in names(on) {
                    require(label, &left, &binary.lhs.to_string(), errors);
                    require(label, &right, &binary.rhs.to_string(), errors);
                }
                result = set(on);
            }
            Some(LabelModifier::Exclude(ignored)) => {
                for label in names(ignored) {
                    require(label, &both, &binary.to_string(), errors);
                }
                result.retain(|label| !ignored.labels.contains(label));
            }
            None => {}
        }
        match &modifier.card {
            VectorMatchCardinality::ManyToOne(more) => carried(&left, &right, more, errors),
            VectorMatchCardinality::OneToMany(more) => carried(&right, &left, more, errors),
            _ if operator == "or" => both,
            _ if of_sets => left,
            _ => result,
        }
    }
}

/// What is left of the side of which many match one: its labels, and those taken over.
fn carried(many: &Labels, one: &Labels, more: &Named, errors: &mut Vec<String>) -> Labels {
    for label in names(more) {
        require(label, one, "the side of one", errors);
    }
    many.union(&set(more)).cloned().collect()
}

fn require(label: &str, labels: &Labels, of: &str, errors: &mut Vec<String>) {
    if !labels.contains(label) {
        errors.push(format!("there is no label {label} in {of}, only {labels:?}"));
    }
}

fn names(labels: &Named) -> &[String] {
    &labels.labels
}

fn set(labels: &Named) -> Labels {
    labels.labels.iter().cloned().collect()
}

mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::new();
        catalogue.add("workflow:runs:increase5m", set(&Named::new(vec!["workflow", "status"])));
        catalogue
    }

    #[test]
    fn the_labels_of_a_result_are_those_that_prometheus_leaves() {
        for (expression, labels) in [
            ("up == 0", &["instance", "job"][..]),
            ("time()", &[]),
            ("sum(cortex_workflow_runs_total)", &[]),
            ("sum by (workflow) (rate(cortex_workflow_runs_total[5m]))", &["workflow"]),
            ("max_over_time(workflow:runs:increase5m[1h:5m])", &["status", "workflow"]),
            (
                "workflow:runs:increase5m / ignoring (status) workflow:runs:increase5m",
                &["workflow"],
            ),
            ("workflow:runs:increase5m / on (status) workflow:runs:increase5m", &["status"]),
            (
                "workflow:runs:increase5m and on (workflow) cortex_workflow_info",
                &["status", "workflow"],
            ),
            ("topk(3, workflow:runs:increase5m)", &["status", "workflow"]),
            ("-sum without (status) (workflow:runs:increase5m) * 2", &["workflow"]),
            (
                "workflow:runs:increase5m * on (workflow) group_left (app) cortex_workflow_info",
                &["app", "status", "workflow"],
            ),
            (
                "histogram_quantile(0.9, sum by (le, workflow) \
                 (rate(cortex_workflow_run_duration_seconds_bucket[5m])))",
                &["workflow"],
            ),
            ("label_replace(vector(1), \"a\", \"$1\", \"job\", \"(.*)\")", &["a"]),
        ] {
            let expected = labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(catalogue().check(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_there_is_not_is_told() {
        for (expression, wrong) in [
            ("cortex_workflow_run_total", "there is no metric cortex_workflow_run_total"),
            ("cortex_workflow_run_duration_seconds", "there is no metric"),
            ("cortex_workflow_runs_total{state=\"FAILED\"}", "no label state"),
            ("rate(cortex_workflow_runs_total{result=\"x\"}[5m])", "no label result"),
            ("sum by (team) (cortex_workflow_runs_total)", "no label team"),
            ("sum without (le) (cortex_workflow_runs_total)", "no label le"),
            ("sum by (job) (sum(cortex_workflow_runs_total))", "no label job"),
            ("workflow:runs:increase5m / on (job) workflow:runs:increase5m", "no label job"),
            ("workflow:runs:increase5m / ignoring (job) workflow:runs:increase5m", "no label job"),
            ("up * on (job) group_left (app) workflow:runs:increase5m", "no label app"),
            ("histogram_quantile(0.9, workflow:runs:increase5m)", "no label le"),
            ("{job=\"cortex\"}", "does not name its metric"),
            ("sum(", "unclosed left parenthesis"),
        ] {
            let errors = catalogue().check(expression).expect_err(expression);
            assert!(errors.iter().any(|error| error.contains(wrong)), "{expression}: {errors:?}");
        }
    }
}
