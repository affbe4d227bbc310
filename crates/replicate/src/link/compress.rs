//! One direction of the link as one compressed stream, in blocks that can be read as soon as they arrive.
//!
//! Sans-IO. Each block ends with a flush, so nothing waits for the next one; but the compressor looks back over earlier
//! blocks, so a row of a table that was sent before costs a fraction of its bytes. Hostile blocks are an error: they
//! cost at most the window, and the bytes that the caller allows.

use std::io;

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// The cheapest level: hundreds of megabytes a second.
const LEVEL: i32 = 1;

/// The compressor looks back over 2^20 bytes; the other side keeps as much, and refuses a stream that wants more.
const WINDOW_LOG: u32 = 20;

/// What is written at once.
const STEP: usize = 64 * 1024;

/// The sending end.
pub(super) struct Compressor(Encoder<'static>);

impl Compressor {
    pub(super) fn new() -> io::Result<Compressor> {
        let mut encoder = Encoder::new(LEVEL)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        Ok(Compressor(encoder))
    }

    /// The block that means `plain`.
    pub(super) fn block(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(plain.len() / 2 + 64);
        let mut input = InBuffer::around(plain);
        while input.pos() < plain.len() {
            step(&mut block, |output| self.0.run(&mut input, output))?;
        }
        while step(&mut block, |output| self.0.flush(output))?.hint > 0 {}
        Ok(block)
    }
}

/// The receiving end.
pub(super) struct Decompressor(Decoder<'static>);

impl Decompressor {
    pub(super) fn new() -> io::Result<Decompressor> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Decompressor(decoder))
    }

    /// Adds what `block` means to `plain`, which may grow to `bytes_max`. After an error the stream is of no use.
    pub(super) fn block(&mut self, block: &[u8], plain: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
        let mut input = InBuffer::around(block);
        loop {
            let before = input.pos();
            let stepped = step(plain, |output| self.0.run(&mut input, output))?;
            if plain.len() > bytes_max {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a block means more than is allowed"));
            }
            // With room left over, everything that the bytes so far mean has been written.
            if input.pos() == block.len() && !stepped.filled {
                return Ok(());
            }
            if input.pos() == before && stepped.written == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a block goes on behind its end"));
            }
        }
    }
}

struct Stepped {
    /// What the library says of what is left.
    hint: usize,
    written: usize,
    filled: bool,
}

/// Gives `work` room behind what `out` holds.
fn step(
    out: &mut Vec<u8>,
    work: impl FnOnce(&mut OutBuffer<'_, [u8]>) -> io::Result<usize>,
) -> io::Result<Stepped> {
    let before = out.len();
    out.resize(before + STEP, 0);
    let mut output = OutBuffer::around(&mut out[before..]);
    let result = work(&mut output);
    let written = output.pos();
    out.truncate(before + written);
    Ok(Stepped { hint: result?, written, filled: written == STEP })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn each_block_can_be_read_by_itself_and_rows_alike_cost_a_fraction() {
        let (mut there, mut back) = (Compressor::new().unwrap(), Decompressor::new().unwrap());
        let mut random = StdRng::seed_from_u64(7);
        let (mut plain_bytes, mut sent_bytes) = (0, 0);
        for n in 0..2_000_u32 {
            let seat = format!("UPDATE shop.seat_claims A-{} 99000 sold {n} ", random.random_range(0..5_000));
            let plain = seat.repeat(random.random_range(1..4)).into_bytes();
            let block = there.block(&plain).unwrap();
            (plain_bytes, sent_bytes) = (plain_bytes + plain.len(), sent_bytes + block.len());
            let mut read = Vec::new();
            back.block(&block, &mut read, 1 << 20).unwrap();
            assert_eq!(read, plain);
        }
        assert!(sent_bytes * 2 < plain_bytes, "{sent_bytes} of {plain_bytes}");
    }

    #[test]
    fn large_blocks_of_any_content_come_back() {
        let (mut there, mut back) = (Compressor::new().unwrap(), Decompressor::new().unwrap());
        let mut random = StdRng::seed_from_u64(7);
        for bytes in [0, 1, STEP - 1, STEP, STEP + 1, 3_000_000] {
            let noise: Vec<u8> = (0..bytes).map(|_| random.random()).collect();
            for plain in [vec![0; bytes], noise] {
                let block = there.block(&plain).unwrap();
                let mut read = Vec::new();
                back.block(&block, &mut read, bytes).unwrap();
                assert!(read == plain, "{bytes} bytes");
            }
        }
    }

    #[test]
    fn a_block_may_not_mean_more_than_is_allowed() {
        let block = Compressor::new().unwrap().block(&vec![0; 10_000_000]).unwrap();
        assert!(block.len() < 10_000);
        let mut read = Vec::new();
        assert!(Decompressor::new().unwrap().block(&block, &mut read, 1_000_000).is_err());
        assert!(read.capacity() < 4_000_000, "{}", read.capacity());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_block_or_an_error(bytes in proptest::collection::vec(0_u8..=255, 0..300), at in 0_usize..200, to in 0_u8..=255) {
            let mut read = Vec::new();
            let outcome = Decompressor::new().unwrap().block(&bytes, &mut read, 1 << 20);
            assert!(outcome.is_ok() || outcome.is_err());
            let mut block = Compressor::new().unwrap().block(&bytes.repeat(3)).unwrap();
            if let Some(b) = block.get_mut(at) { *b = to; }
            let mut read = Vec::new();
            // A damaged block may also mean something else; what it may not do is to panic or to grow.
            if Decompressor::new().unwrap().block(&block, &mut read, 1 << 20).is_ok() { assert!(read.len() <= 1 << 20); }
        }
    }
}
