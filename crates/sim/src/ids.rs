//! A set of requests, by number.

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids(Vec<u64>);

impl Ids {
    /// Puts one in.
    pub fn insert(&mut self, id: u64) {
        let (word, bit) = place(id);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, id: u64) {
        let (word, bit) = place(id);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Whether it is in.
    pub fn contains(&self, id: u64) -> bool {
        let (word, bit) = place(id);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The first that is in here and not in `other`.
    pub fn first_missing_in(&self, other: &Ids) -> Option<u64> {
        self.0.iter().enumerate().find_map(|(n, word)| {
            let missing = word & !other.0.get(n).copied().unwrap_or(0);
            (missing != 0).then(|| n as u64 * 64 + u64::from(missing.trailing_zeros()))
        })
    }

    /// Takes all of these out.
    pub fn remove_all(&mut self, other: &Ids) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
    }
}

fn place(id: u64) -> (usize, u64) {
    (usize::try_from(id / 64).unwrap_or(usize::MAX), 1 << (id % 64))
}
