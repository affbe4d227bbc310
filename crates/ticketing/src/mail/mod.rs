//! Letters to visitors: what they say ([`letters`]), and how they leave.
//!
//! They leave through an outbox in the database: whoever writes a letter only writes a row, in the same breath as what
//! the letter is about. The text is made when it is sent.

pub mod letters;

use std::{io, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::calendar::utc;

/// What a letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Welcome; please confirm the address.
    Confirm,
    /// A link for a new password.
    Reset,
    /// The password was changed.
    Password,
    /// A booking was made.
    Booked,
    /// A booking was cancelled.
    Cancelled,
    /// Somebody who waits is offered seats.
    Offered,
    /// A bank transfer is waited for.
    Transfer,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Confirm,
        Kind::Reset,
        Kind::Password,
        Kind::Booked,
        Kind::Cancelled,
        Kind::Offered,
        Kind::Transfer,
    ];

    /// Its word in the outbox.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Confirm => "confirm",
            Kind::Reset => "reset",
            Kind::Password => "password",
            Kind::Booked => "booked",
            Kind::Cancelled => "cancelled",
            Kind::Offered => "offered",
            Kind::Transfer => "transfer",
        }
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A letter, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same for the same letter, however often it is sent.
    pub id: String,
    /// Address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// When it was written.
    pub written_ms: u64,
}

/// Where letters are put.
#[derive(Clone, Debug)]
pub enum Mailer {
    /// Into a folder, one `.eml` file each: for a machine without a mail server, and for tests.
    Folder(PathBuf),
}

impl Mailer {
    /// Sends a letter. Sending it again replaces the file.
    pub async fn send(&self, from: &str, letter: &Letter) -> io::Result<()> {
        let Mailer::Folder(folder) = self;
        tokio::fs::create_dir_all(folder).await?;
        // Whoever looks into the folder never finds half a letter.
        let (draft, whole) =
            (folder.join(format!(".{}", letter.id)), folder.join(format!("{}.eml", letter.id)));
        tokio::fs::write(&draft, eml(from, letter)).await?;
        tokio::fs::rename(&draft, &whole).await
    }
}

/// A letter as RFC 5322 and MIME write it.
fn eml(from: &str, letter: &Letter) -> String {
    let c = utc(letter.written_ms);
    let day = crate::calendar::weekday(crate::lang::Lang::En, c.weekday);
    let month = crate::calendar::month(crate::lang::Lang::En, c.year, c.month);
    let date = format!("{day}, {:02} {month} {:02}:{:02}:{:02} +0000", c.day, c.hour, c.minute, c.second);
    let mut out = format!(
        "From: {} <{from}>\r\nTo: <{}>\r\nSubject: {}\r\nDate: {date}\r\nMessage-ID: <{}@ghostlight>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        words("고스트라이트 티켓"),
        letter.to,
        words(&letter.subject),
        letter.id,
    );
    let body = STANDARD.encode(letter.text.replace('\n', "\r\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        out.push_str(line);
        out.push_str("\r\n");
        rest = after;
    }
    out
}

/// A header's text as encoded words (RFC 2047), each short enough for a line.
fn words(text: &str) -> String {
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in text.chars() {
        if word.len() + letter.len_utf8() > 42 {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
    }
    words.push(word);
    let encoded: Vec<String> = words.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w))).collect();
    encoded.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_ascii_in_short_lines_and_reads_as_it_was_written() {
        let text = "안녕하세요.\n".repeat(30);
        let subject = "등대지기의 겨울 예매가 끝났어요: 무대에서 만나요, 겨울 바다 앞에서".to_owned();
        let letter = Letter {
            id: "booked-7".into(),
            to: "a@b.kr".into(),
            subject: subject.clone(),
            text: text.clone(),
            written_ms: 1_798_108_200_000,
        };
        let eml = eml("tickets@example.com", &letter);
        assert!(eml.is_ascii() && eml.split("\r\n").all(|line| line.len() <= 78), "{eml}");
        assert!(eml.contains("Date: Thu, 24 Dec 2026 10:30:00 +0000\r\n"), "{eml}");
        let (head, body) = eml.split_once("\r\n\r\n").unwrap();
        let body = STANDARD.decode(body.replace("\r\n", "")).unwrap();
        assert_eq!(String::from_utf8(body).unwrap().replace("\r\n", "\n"), text);
        let line = head.replace("\r\n ", "");
        let line = line.split("\r\n").find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        let read: String = line
            .split("=?utf-8?B?")
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8(STANDARD.decode(word.trim_end_matches("?=")).unwrap()).unwrap())
            .collect();
        assert_eq!(read, subject);
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
    }
}
