use serde_json::{Map, Value};

/// What the API sends in place of an item, so that tests can make hostile ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tamper {
    /// The item as it is.
    #[default]
    Not,
    /// These fields are replaced or added.
    Fields(Map<String, Value>),
    /// These fields are left out.
    Without(Vec<String>),
    /// The whole item is this.
    Whole(Value),
}

impl Tamper {
    /// Replaces or adds one field.
    pub fn field(name: &str, value: impl Into<Value>) -> Self {
        Self::Fields([(name.to_owned(), value.into())].into_iter().collect())
    }

    pub(super) fn apply(&self, mut item: Value) -> Value {
        match self {
            Self::Not => {}
            Self::Whole(whole) => return whole.clone(),
            Self::Fields(fields) => {
                if let Some(item) = item.as_object_mut() {
                    item.extend(fields.clone());
                }
            }
            Self::Without(names) => {
                if let Some(item) = item.as_object_mut() {
                    item.retain(|name, _| !names.contains(name));
                }
            }
        }
        item
    }
}
