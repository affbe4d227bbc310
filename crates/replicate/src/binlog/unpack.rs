//! Compressed events of MariaDB (`log_bin_compress`): the same event, with its statement or its rows packed by zlib.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::{DecodeError, bytes::Bytes};

/// No event is larger: it is what `max_allowed_packet` can be at most.
const EVENT_BYTES_MAX: usize = 1 << 30;

/// What is reserved before the first byte is unpacked; the rest grows with what is really there.
const RESERVED_BYTES_MAX: usize = 1 << 16;

/// A compressed QUERY event as the event that it would be.
pub(super) fn query(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut from = Bytes(body);
    from.take(8)?;
    let schema_len = from.u8()?;
    from.u16()?;
    let settings_len = from.u16()?;
    from.take(usize::from(settings_len) + usize::from(schema_len) + 1)?;
    with_unpacked(body, from)
}

/// A compressed rows event as the event that it would be. `kind` is the type of that.
pub(super) fn rows(kind: u8, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut from = Bytes(body);
    from.take(8)?;
    if kind >= 30 {
        let extra = from.u16()?;
        from.take(usize::from(extra).saturating_sub(2))?;
    }
    let bitmap = from.packed_len()?.div_ceil(8);
    from.take(bitmap)?;
    if matches!(kind, 24 | 31) {
        from.take(bitmap)?;
    }
    with_unpacked(body, from)
}

/// What stands in front of `packed` as it is, and behind it what `packed` unpacks to.
fn with_unpacked(body: &[u8], mut packed: Bytes<'_>) -> Result<Vec<u8>, DecodeError> {
    const DAMAGED: DecodeError = DecodeError::Malformed("a compressed event cannot be unpacked");
    let plain = body.get(..body.len() - packed.0.len()).ok_or(DAMAGED)?;
    // 1 bit that says that it is packed, 3 bits for how, 4 bits for the bytes in which the length stands.
    let header = packed.u8()?;
    let length_bytes = usize::from(header & 0x0f);
    if header & 0xf0 != 0x80 || !(1..=4).contains(&length_bytes) {
        return Err(DAMAGED);
    }
    let length = usize::try_from(packed.big(length_bytes)?).map_err(|_| DAMAGED)?;
    if length > EVENT_BYTES_MAX {
        return Err(DecodeError::Malformed("a compressed event is larger than any event"));
    }
    let mut event = Vec::with_capacity(plain.len() + length.min(RESERVED_BYTES_MAX));
    event.extend_from_slice(plain);
    let most = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
    let unpacked = ZlibDecoder::new(packed.0).take(most).read_to_end(&mut event).map_err(|_| DAMAGED)?;
    if unpacked == length { Ok(event) } else { Err(DAMAGED) }
}
