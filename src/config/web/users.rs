use std::{collections::BTreeMap, fmt};

use bcrypt::HashParts;

/// Who may ask, with the bcrypt hashes of their passwords. `Debug` shows no hash.
#[derive(Clone, Default)]
pub struct Users {
    hashes: BTreeMap<String, String>,
    /// Matches no password, and takes as long to find that out as the costliest of the real ones.
    nobody: String,
}

/// The usual cost; more than this takes seconds.
pub(super) const MAX_USUAL_COST: u32 = 14;

impl Users {
    /// These users; the hashes are bcrypt's.
    pub fn new(hashes: BTreeMap<String, String>) -> Self {
        let cost = hashes.values().filter_map(|hash| cost(hash).ok()).max().unwrap_or(10);
        Self { hashes, nobody: format!("$2y${cost:02}${}", ".".repeat(53)) }
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The hash to compare a password with, and whether there is such a user at all. One who isn't
    /// there gets a hash too, so that time doesn't reveal who is.
    pub fn hash(&self, user: &str) -> (&str, bool) {
        let hash = self.hashes.get(user);
        (hash.unwrap_or(&self.nobody), hash.is_some())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Users").field(&self.hashes.len()).finish()
    }
}

/// The cost of a bcrypt hash, as its exponent. The error doesn't repeat the hash.
pub(super) fn cost(hash: &str) -> Result<u32, String> {
    let parts: Result<HashParts, _> = hash.parse();
    let wrong = "it is no bcrypt hash; make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'";
    let cost = parts.map_err(|_| wrong)?.get_cost();
    if (4..=31).contains(&cost) {
        Ok(cost)
    } else {
        Err(format!("the cost of this bcrypt hash is {cost}; it must be from 4 to 31"))
    }
}
