//! What a Parquet file says of itself, held against its own length before a decoder acts on it.
//!
//! The decoder reserves room for as many row groups, pages and values as headers say, and walks the schema as deep as
//! it goes: a footer of a few bytes could take all memory or the stack, which no error can be made of afterwards. So
//! footer and page headers are walked first, without building anything. What remains wrong inside of pages is the
//! decoder's to find.
//!
//! Statistics are not looked at, here or by the decoder: every row is read, whatever they say. Layout: the Parquet
//! format's `parquet.thrift`.

use std::ops::Range;

use super::thrift::{Cursor, Field, I32, I64, LIST, STRUCT};

const MAGIC: &[u8] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8] = b"PARE";
/// A file ends with the length of its footer and the magic word.
const TAIL: usize = 8;
/// Groups within groups.
const DEEPEST: usize = 64;
/// Columns, nested ones counted one by one.
const MOST_COLUMNS: usize = 50_000;
/// A byte of a file may stand for so many rows, beyond a first `FREE_ROWS`.
const ROWS_PER_BYTE: u64 = 1_100;
const FREE_ROWS: u64 = 4 << 20;

/// Why a file is not believed.
pub(super) type Reason = String;

/// As many rows, or values of a column, as the file can honestly have.
pub(super) fn most_rows(bytes: usize) -> u64 {
    bytes as u64 * ROWS_PER_BYTE + FREE_ROWS
}

/// Walks the footer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn footer(bytes: &[u8]) -> Result<(), Reason> {
    let Some((body, tail)) = bytes.split_last_chunk::<TAIL>().filter(|(body, _)| body.len() >= MAGIC.len()) else {
        return Err(format!("{} bytes are too few for one", bytes.len()));
    };
    let (length, magic) = tail.split_at(4);
    if magic == MAGIC_ENCRYPTED || body.starts_with(MAGIC_ENCRYPTED) {
        return Err("it is encrypted: deliver it in plain".into());
    }
    if magic != MAGIC || !body.starts_with(MAGIC) {
        return Err("it does not begin and end with PAR1: it was cut off, or is of another form".into());
    }
    let length = length.iter().rev().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    let Some(start) = body.len().checked_sub(length).filter(|start| *start >= MAGIC.len()) else {
        return Err(format!("a footer of {length} bytes in a file of {}", bytes.len()));
    };
    let mut footer = Footer { most: most_rows(bytes.len()), ..Footer::default() };
    let walked = Cursor::new(&body[start..]).fields(|cursor, field| footer.field(cursor, field));
    match (walked, footer.wrong) {
        (_, Some(wrong)) => Err(wrong),
        (None, None) => Err("its footer is no footer".into()),
        (Some(()), None) if footer.encrypted => Err("it is encrypted: deliver it in plain".into()),
        (Some(()), None) if footer.rows != footer.of_groups => {
            Err(format!("{} rows by its footer, {} by its row groups", footer.rows, footer.of_groups))
        }
        (Some(()), None) => Ok(()),
    }
}

#[derive(Default)]
struct Footer {
    most: u64,
    rows: u64,
    of_groups: u64,
    encrypted: bool,
    wrong: Option<Reason>,
}

impl Footer {
    fn field(&mut self, cursor: &mut Cursor, field: Field) -> Option<bool> {
        match (field.id, field.kind) {
            (2, LIST) => self.schema(cursor)?,
            (3, I64) => self.rows = self.count(cursor.number()?)?,
            (4, LIST) => {
                let (count, _) = cursor.list().filter(|(count, kind)| *kind == STRUCT || *count == 0)?;
                for _ in 0..count {
                    self.group(cursor)?;
                }
            }
            // The algorithm of columns that are encrypted under a footer that is not.
            (8, STRUCT) => {
                self.encrypted = true;
                return Some(false);
            }
            _ => return Some(false),
        }
        Some(true)
    }

    /// The tree of columns, written as a list, each with the number of its children.
    fn schema(&mut self, cursor: &mut Cursor) -> Option<()> {
        let (count, _) = cursor.list().filter(|(_, kind)| *kind == STRUCT)?;
        if count > MOST_COLUMNS {
            return self.refuse(format!("{count} columns; at most {MOST_COLUMNS} are read"));
        }
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..count {
            let mut children = 0;
            cursor.fields(|cursor, field| {
                if (field.id, field.kind) == (5, I32) {
                    children = cursor.number()?;
                    return Some(true);
                }
                Some(false)
            })?;
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            while open.pop_if(|left| *left == 0).is_some() {}
            if open.len() > DEEPEST {
                return self.refuse(format!("columns nested deeper than {DEEPEST}"));
            }
        }
        Some(())
    }

    fn group(&mut self, cursor: &mut Cursor) -> Option<()> {
        let mut rows = None;
        cursor.fields(|cursor, field| {
            if (field.id, field.kind) == (3, I64) {
                rows = Some(cursor.number()?);
                return Some(true);
            }
            Some(false)
        })?;
        self.of_groups = self.of_groups.checked_add(self.count(rows?)?)?;
        Some(())
    }

    fn count(&mut self, rows: i64) -> Option<u64> {
        match u64::try_from(rows) {
            Ok(rows) if rows <= self.most => Some(rows),
            _ => self.refuse(format!("{rows} rows; its bytes can hold {}", self.most)),
        }
    }

    fn refuse<T>(&mut self, wrong: Reason) -> Option<T> {
        self.wrong.get_or_insert(wrong);
        None
    }
}

/// What the pages of some columns may take together.
pub(super) struct Allowance {
    /// Bytes, decompressed.
    pub bytes: u64,
    /// Values of one column.
    pub values: u64,
}

/// Walks the page headers of a part of a column.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn pages(file: &[u8], chunk: Range<u64>, values: i64, allowed: &mut Allowance) -> Result<(), Reason> {
    let within = usize::try_from(chunk.start).ok().zip(usize::try_from(chunk.end).ok());
    let bytes = within.and_then(|(start, end)| file.get(start..end));
    let mut cursor = Cursor::new(bytes.ok_or("it ends beyond the file")?);
    let mut found: u64 = 0;
    while cursor.left() > 0 {
        let header = page(&mut cursor).ok_or("a page header is none")?;
        let compressed = usize::try_from(header.compressed).ok().filter(|size| cursor.take(*size).is_some());
        compressed.ok_or("a page ends beyond its column")?;
        let size = u64::try_from(header.uncompressed).map_err(|_| "a page of negative size")?;
        allowed.bytes = allowed.bytes.checked_sub(size).ok_or("pages that expand to more than its bytes can hold")?;
        found += u64::try_from(header.values).map_err(|_| "a page of a negative number of values")?;
        if found > allowed.values {
            return Err("more values than its bytes can hold".into());
        }
    }
    if u64::try_from(values) == Ok(found) {
        Ok(())
    } else {
        Err(format!("{values} values by its footer, {found} inside"))
    }
}

/// What is said of a page.
#[derive(Default)]
struct Page {
    uncompressed: i64,
    compressed: i64,
    /// Of a page of data.
    values: i64,
}

fn page(cursor: &mut Cursor) -> Option<Page> {
    let mut page = Page::default();
    let mut kind = None;
    let (mut first, mut second) = (0, 0);
    cursor.fields(|cursor, field| {
        match (field.id, field.kind) {
            (1, I32) => kind = Some(cursor.number()?),
            (2, I32) => page.uncompressed = cursor.number()?,
            (3, I32) => page.compressed = cursor.number()?,
            (5, STRUCT) => first = values(cursor)?,
            (8, STRUCT) => second = values(cursor)?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    match kind? {
        0 => page.values = first,
        3 => page.values = second,
        _ => {}
    }
    Some(page)
}

/// The first field of a header of data: how many values, nulls among them.
fn values(cursor: &mut Cursor) -> Option<i64> {
    let mut values = None;
    cursor.fields(|cursor, field| {
        if (field.id, field.kind) == (1, I32) {
            values = Some(cursor.number()?);
            return Some(true);
        }
        Some(false)
    })?;
    values
}
