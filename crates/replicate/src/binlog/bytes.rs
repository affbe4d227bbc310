//! Reading numbers from bytes that may be anything.

use super::DecodeError;

/// What is left to read of an event. Every reader takes from the front and fails if there is too little.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) =
            self.0.split_at_checked(n).ok_or(DecodeError::Malformed("an event is too short"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) =
            self.0.split_first_chunk().ok_or(DecodeError::Malformed("an event is too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn f32(&mut self) -> Result<f32, DecodeError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// `n` ≤ 8 bytes, the least significant first.
    pub(super) fn little(&mut self, n: usize) -> Result<u64, DecodeError> {
        Ok(self.take(n)?.iter().rev().fold(0, |acc, b| (acc << 8) | u64::from(*b)))
    }

    /// `n` ≤ 8 bytes, the most significant first.
    pub(super) fn big(&mut self, n: usize) -> Result<u64, DecodeError> {
        Ok(self.take(n)?.iter().fold(0, |acc, b| (acc << 8) | u64::from(*b)))
    }

    /// The protocol's number of variable length.
    pub(super) fn packed(&mut self) -> Result<u64, DecodeError> {
        match self.u8()? {
            n @ 0..=250 => Ok(u64::from(n)),
            252 => self.little(2),
            253 => self.little(3),
            254 => self.u64(),
            _ => Err(DecodeError::Malformed("a packed number begins with 251 or 255")),
        }
    }

    pub(super) fn packed_len(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.packed()?).map_err(|_| DecodeError::Malformed("a length is too large"))
    }
}

/// Whether bit `i` is set, the least significant bit of the first byte being bit 0.
pub(super) fn bit(bits: &[u8], i: usize) -> bool {
    bits.get(i / 8).is_some_and(|b| b & (1 << (i % 8)) != 0)
}
