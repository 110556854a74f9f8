//! Numbers as bytes: short ones short. LEB128, signed ones zigzag.

use crate::error::{Error, Result};

/// Bytes of a number that fits 64 bits for sure.
const SHORT: usize = 9;

#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn unsigned(&mut self, mut value: u128) {
        while value > u128::from(u64::MAX) {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        // Nearly all are short, and short ones are what a processor adds and shifts at once.
        let mut value = value as u64;
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub fn signed(&mut self, value: i128) {
        self.unsigned(((value << 1) ^ (value >> 127)) as u128);
    }

    pub fn length(&mut self, value: usize) {
        self.unsigned(value as u128);
    }

    pub fn float(&mut self, value: f64) {
        self.bytes.extend(value.to_bits().to_le_bytes());
    }

    pub fn floats(&mut self, values: &[f64]) {
        self.length(values.len());
        values.iter().for_each(|value| self.float(*value));
    }

    pub fn blob(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }
}

#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn unsigned(&mut self) -> Result<u128> {
        let mut short = 0;
        for (index, byte) in self.rest.iter().take(SHORT).enumerate() {
            short |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(short.into());
            }
        }
        self.long_unsigned()
    }

    fn long_unsigned(&mut self) -> Result<u128> {
        let mut value: u128 = 0;
        let mut shift = 0;
        loop {
            let (first, rest) = self.rest.split_first().ok_or_else(broken)?;
            self.rest = rest;
            value |= u128::from(first & 0x7f).checked_shl(shift).ok_or_else(broken)?;
            if first & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub fn signed(&mut self) -> Result<i128> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    pub fn long(&mut self) -> Result<i64> {
        i64::try_from(self.signed()?).map_err(|_| broken())
    }

    pub fn length(&mut self) -> Result<usize> {
        usize::try_from(self.unsigned()?).map_err(|_| broken())
    }

    pub fn float(&mut self) -> Result<f64> {
        let bytes = self.take(8)?.try_into().map_err(|_| broken())?;
        Ok(f64::from_bits(u64::from_le_bytes(bytes)))
    }

    pub fn floats(&mut self) -> Result<Vec<f64>> {
        let length = self.length()?;
        (0..length).map(|_| self.float()).collect()
    }

    pub fn blob(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(broken)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn broken() -> Error {
    Error::data("the state of a feature group cannot be read\n  help: `scorehouse features --full` computes it anew")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(signed in any::<i128>(), small in -3i128..3, float in any::<f64>(), text in ".*") {
            let mut writer = Writer::default();
            writer.signed(signed);
            writer.signed(small);
            writer.floats(&[float]);
            writer.blob(text.as_bytes());
            let mut reader = Reader::new(&writer.bytes);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert_eq!(reader.signed().unwrap(), small);
            prop_assert_eq!(reader.floats().unwrap()[0].to_bits(), float.to_bits());
            prop_assert_eq!(reader.blob().unwrap(), text.as_bytes());
            prop_assert!(reader.is_empty());
        }
    }
}
