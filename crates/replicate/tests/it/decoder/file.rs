//! A binary log as a file: its events one by one.

use replicate::{
    binlog::{Assembler, Charsets, DecodeError, Item, RawEvent},
    transaction::At,
};

/// One event with its header's fields.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) kind: u8,
    pub(super) at_s: u32,
    pub(super) end: u32,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
}

const HEADER: usize = 19;
const CHECKSUM: usize = 4;

/// The events of a file, whose format description says that each ends in a checksum.
pub(super) fn events(file: &[u8]) -> Vec<Event> {
    let (mut all, mut at) = (Vec::new(), 4);
    while let Some(header) = file.get(at..at + HEADER) {
        let u32_at = |i: usize| u32::from_le_bytes(header[i..i + 4].try_into().unwrap());
        let length = usize::try_from(u32_at(9)).unwrap();
        all.push(Event {
            kind: header[4],
            at_s: u32_at(0),
            end: u32_at(13),
            flags: u16::from_le_bytes([header[17], header[18]]),
            body: file[at + HEADER..at + length - CHECKSUM].to_vec(),
        });
        at += length;
    }
    all
}

/// The collations that the events name.
pub(super) fn charsets() -> Charsets {
    let known = [
        (8, "latin1"),
        (19, "euckr"),
        (45, "utf8mb4"),
        (46, "utf8mb4"),
        (224, "utf8mb4"),
        (255, "utf8mb4"),
        (63, "binary"),
        (33, "utf8mb3"),
        (11, "ascii"),
    ];
    known.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
}

/// Reads everything, as from the file's beginning.
pub(super) fn read(events: &[Event]) -> Result<Vec<Item>, DecodeError> {
    let mut assembler = Assembler::new(charsets(), At { file: 1, offset: 4 });
    assembler.begin_at_start();
    let mut items = Vec::new();
    for e in events {
        let raw = RawEvent { kind: e.kind, at_s: e.at_s, end: e.end, flags: e.flags, body: &e.body };
        assembler.event(&raw, &mut items)?;
    }
    Ok(items)
}
