//! Thrift's compact protocol, as far as a Parquet file's headers can be walked with it.
//!
//! Nothing is built and nothing allocated: a length or count is believed only as far as there are bytes for it, and
//! structs within structs only to a depth. Source: the Thrift compact protocol specification.

/// Structs within structs.
const DEEPEST: usize = 32;

pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// A place in some bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

/// A field of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub id: i16,
    pub kind: u8,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// Bytes that have not been read.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Walks a struct: `each` reads a field's value and returns true, or leaves it and returns false.
    pub(super) fn fields(&mut self, mut each: impl FnMut(&mut Self, Field) -> Option<bool>) -> Option<()> {
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            let step = i16::from(head >> 4);
            id = if step == 0 { i16::try_from(self.number()?).ok()? } else { id.checked_add(step)? };
            let field = Field { id, kind: head & 0x0f };
            if !each(self, field)? {
                self.skip(field.kind, DEEPEST)?;
            }
        }
    }

    /// A whole number of any width.
    pub(super) fn number(&mut self) -> Option<i64> {
        let raw = self.unsigned()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// How many elements a list has, each of at least one byte, and of which kind.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.unsigned()?).ok()?,
            few => usize::from(few),
        };
        (count <= self.left()).then_some((count, head & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.unsigned().map(drop),
            7 => self.take(8),
            8 => {
                let length = usize::try_from(self.unsigned()?).ok()?;
                self.take(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.element(kind, depth))
            }
            11 => {
                let count = usize::try_from(self.unsigned()?).ok()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, depth)?;
                    self.element(kinds & 0x0f, depth)
                })
            }
            STRUCT => {
                let mut id = 0_i16;
                loop {
                    let head = self.byte()?;
                    if head == 0 {
                        return Some(());
                    }
                    id = if head >> 4 == 0 { i16::try_from(self.number()?).ok()? } else { id };
                    self.skip(head & 0x0f, depth)?;
                }
            }
            13 => self.take(16),
            _ => None,
        }
    }

    /// Within a list or map a truth value takes a byte.
    fn element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.take(1) } else { self.skip(kind, depth) }
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Steps over bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<()> {
        self.rest = self.rest.get(length..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_is_walked_and_what_is_not_asked_for_skipped() {
        // 1: i32 -3, 2: binary "ab", 4: list of two structs, 5: map {1: true}, 300: i64 7.
        let bytes =
            [0x15, 5, 0x18, 2, b'a', b'b', 0x29, 0x2c, 0x15, 2, 0, 0, 0x1b, 1, 0x51, 2, 1, 0x06, 0xd8, 0x04, 14, 0, 99];
        let mut found = Vec::new();
        let mut cursor = Cursor::new(&bytes);
        let walked = cursor.fields(|cursor, field| {
            let is_number = matches!(field.kind, I32 | I64);
            found.push((field.id, if is_number { cursor.number()? } else { 0 }));
            Some(is_number)
        });
        assert_eq!((walked, cursor.left()), (Some(()), 1));
        assert_eq!(found, [(1, -3), (2, 0), (4, 0), (5, 0), (300, 7)]);
    }

    #[test]
    fn lengths_without_bytes_and_bottomless_structs_are_none() {
        for bytes in [
            &[0x18, 0xff, 0xff, 0x03][..],               // Text of 65,535 bytes.
            &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f], // A list of 4,294,967,295 structs.
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x11], // As many pairs.
            &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x1c; 100], // A struct in a struct in …
            &[0x1e, 0],   // No such kind.
            &[0x15, 2],   // No end.
        ] {
            assert_eq!(Cursor::new(bytes).fields(|_, _| Some(false)), None, "{bytes:x?}");
        }
    }
}
