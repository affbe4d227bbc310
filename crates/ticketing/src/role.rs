//! What somebody may do besides booking.

/// A role. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Lets people in.
    Door,
    /// Sees sales, gives roles, refunds.
    Organiser,
}

impl Role {
    /// Both.
    pub const ALL: [Role; 2] = [Role::Door, Role::Organiser];

    /// Its word in the database and in forms.
    pub fn word(self) -> &'static str {
        match self {
            Role::Door => "door",
            Role::Organiser => "organiser",
        }
    }

    /// The role with this word.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}
