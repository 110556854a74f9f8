//! Parquet files taken apart to their Thrift structs and put together again with something in them changed: fields of
//! the footer, page headers, levels, dictionaries. What bytes flipped at random hardly reach, this does.

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use rand::Rng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A value of Thrift's compact protocol.
#[derive(Debug, Clone)]
pub(super) enum Thrift {
    Bool(bool),
    /// Of 8, 16, 32 or 64 bits, by the kind.
    Number(u8, i64),
    Double([u8; 8]),
    Bytes(Vec<u8>),
    /// The kind of its elements, and how many it says to have beyond those it has.
    List(u8, u64, Vec<Thrift>),
    Struct(Vec<(i16, Thrift)>),
}

use Thrift::{Bool, Bytes, Double, List, Number, Struct};

impl Thrift {
    pub(super) fn read(bytes: &[u8], at: &mut usize) -> Thrift {
        let mut fields = Vec::new();
        let mut id = 0;
        loop {
            let head = bytes[*at];
            *at += 1;
            if head == 0 {
                return Struct(fields);
            }
            id = if head >> 4 == 0 { zigzag(unsigned(bytes, at)) as i16 } else { id + i16::from(head >> 4) };
            fields.push((id, Self::value(head & 15, bytes, at)));
        }
    }

    fn value(kind: u8, bytes: &[u8], at: &mut usize) -> Thrift {
        match kind {
            1 | 2 => Bool(kind == 1),
            3 => {
                *at += 1;
                Number(3, i64::from(bytes[*at - 1]))
            }
            4..=6 => Number(kind, zigzag(unsigned(bytes, at))),
            7 => {
                *at += 8;
                Double(bytes[*at - 8..*at].try_into().unwrap())
            }
            8 => {
                let length = unsigned(bytes, at) as usize;
                *at += length;
                Bytes(bytes[*at - length..*at].to_vec())
            }
            9 | 10 => {
                let head = bytes[*at];
                *at += 1;
                let count = if head >> 4 == 15 { unsigned(bytes, at) } else { u64::from(head >> 4) };
                List(head & 15, 0, (0..count).map(|_| Self::element(head & 15, bytes, at)).collect())
            }
            12 => Self::read(bytes, at),
            other => panic!("kind {other}"),
        }
    }

    fn element(kind: u8, bytes: &[u8], at: &mut usize) -> Thrift {
        if matches!(kind, 1 | 2) {
            *at += 1;
            return Bool(bytes[*at - 1] == 1);
        }
        Self::value(kind, bytes, at)
    }

    fn kind(&self) -> u8 {
        match self {
            Bool(true) => 1,
            Bool(false) => 2,
            Number(kind, _) => *kind,
            Double(_) => 7,
            Bytes(_) => 8,
            List(..) => 9,
            Struct(_) => 12,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Bool(_) => {}
            Number(3, number) => out.push(*number as u8),
            Number(_, number) => write_unsigned(((number << 1) ^ (number >> 63)) as u64, out),
            Double(bytes) => out.extend(bytes),
            Bytes(bytes) => {
                write_unsigned(bytes.len() as u64, out);
                out.extend(bytes);
            }
            List(kind, more, elements) => {
                let count = elements.len() as u64 + more;
                if count < 15 {
                    out.push((count as u8) << 4 | kind);
                } else {
                    out.push(0xf0 | kind);
                    write_unsigned(count, out);
                }
                for element in elements {
                    match element {
                        Bool(value) => out.push(if *value { 1 } else { 2 }),
                        element => element.write(out),
                    }
                }
            }
            Struct(fields) => {
                let mut last = 0_i16;
                for (id, value) in fields {
                    match id.checked_sub(last) {
                        Some(step @ 1..=15) => out.push((step as u8) << 4 | value.kind()),
                        _ => {
                            out.push(value.kind());
                            write_unsigned(((i64::from(*id) << 1) ^ (i64::from(*id) >> 63)) as u64, out);
                        }
                    }
                    value.write(out);
                    last = *id;
                }
                out.push(0);
            }
        }
    }

    pub(super) fn field(&mut self, id: i16) -> Option<&mut Thrift> {
        let Struct(fields) = self else { return None };
        fields.iter_mut().find(|(found, _)| *found == id).map(|(_, value)| value)
    }

    pub(super) fn number(&mut self, id: i16) -> Option<&mut i64> {
        match self.field(id)? {
            Number(_, number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn elements(&mut self, id: i16) -> &mut Vec<Thrift> {
        match self.field(id) {
            Some(List(_, _, elements)) => elements,
            other => panic!("{id} is {other:?}"),
        }
    }

    /// How many values it has, itself among them.
    fn size(&self) -> usize {
        1 + match self {
            List(_, _, elements) => elements.iter().map(Thrift::size).sum(),
            Struct(fields) => fields.iter().map(|(_, value)| value.size()).sum(),
            _ => 0,
        }
    }

    /// Changes one thing in it.
    pub(super) fn mutate(&mut self, seed: &mut ChaCha8Rng) {
        let chosen = seed.random_range(0..self.size());
        self.mutate_nth(chosen, seed);
    }

    fn mutate_nth(&mut self, mut nth: usize, seed: &mut ChaCha8Rng) {
        if nth == 0 {
            return self.change(seed);
        }
        nth -= 1;
        let mut inside: Vec<&mut Thrift> = match self {
            List(_, _, elements) => elements.iter_mut().collect(),
            Struct(fields) => fields.iter_mut().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        for value in &mut inside {
            let size = value.size();
            if nth < size {
                return value.mutate_nth(nth, seed);
            }
            nth -= size;
        }
    }

    fn change(&mut self, seed: &mut ChaCha8Rng) {
        let seven = seed.random_range(0..7);
        match self {
            Bool(value) => *value = !*value,
            Number(_, number) => {
                let random = seed.random::<i64>() >> seed.random_range(0..64);
                let edges =
                    [0, 1, -1, 127, 65_536, i64::from(i32::MAX), i64::from(i32::MIN), 1 << 40, i64::MAX, i64::MIN];
                *number = match seven {
                    0 => number.wrapping_add(1),
                    1 => number.wrapping_sub(1),
                    2 => number.wrapping_mul(2),
                    3 => random,
                    _ => *edges.choose(seed).unwrap(),
                };
            }
            Double(bytes) => seed.fill(bytes),
            Bytes(bytes) => match seven {
                0 => bytes.clear(),
                1 => bytes.extend([0xff, 0xfe]),
                2 => bytes.extend(vec![b'a'; 70_000]),
                3 => bytes.truncate(bytes.len() / 2),
                _ if bytes.is_empty() => bytes.push(0),
                _ => {
                    let at = seed.random_range(0..bytes.len());
                    bytes[at] = seed.random();
                }
            },
            List(kind, more, elements) => match seven {
                0 => drop(elements.pop()),
                1 => *more = [1, 100, 1 << 20, i32::MAX as u64, u64::MAX >> 1][seed.random_range(0..5)],
                2 => *kind = seed.random_range(0..16),
                3 => elements.reverse(),
                4 => elements.clear(),
                _ if elements.is_empty() => *more = 1,
                _ => {
                    let one = elements.choose(seed).unwrap().clone();
                    let times = [1, 2, 1000][seed.random_range(0..3)];
                    elements.extend(vec![one; times]);
                }
            },
            Struct(fields) if !fields.is_empty() => {
                let at = seed.random_range(0..fields.len());
                match seven {
                    0..=2 => drop(fields.remove(at)),
                    3 => fields.push(fields[at].clone()),
                    4 => fields[at].0 = seed.random_range(-3..40),
                    5 => fields.swap(at, 0),
                    _ => fields[at].1 = Struct(vec![(1, Number(5, 7))]),
                }
            }
            Struct(fields) => fields.push((1, Number(6, -1))),
        }
    }
}

fn unsigned(bytes: &[u8], at: &mut usize) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn zigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

fn write_unsigned(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A Parquet file in its parts.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// By row group and column; their pages.
    pub chunks: Vec<Vec<Page>>,
    pub footer: Thrift,
}

#[derive(Debug, Clone)]
pub(super) struct Page {
    pub header: Thrift,
    pub body: Vec<u8>,
}

impl Page {
    fn is_dictionary(&mut self) -> bool {
        self.header.number(1) == Some(&mut 2)
    }
}

impl Parts {
    pub(super) fn of(file: &[u8]) -> Parts {
        let end = file.len() - 8;
        let length = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
        let mut footer = Thrift::read(&file[end - length..end], &mut 0);
        let mut chunks = Vec::new();
        for group in footer.elements(4) {
            for column in group.elements(1) {
                let meta = column.field(3).unwrap();
                let start = *meta.number(9).unwrap();
                let start = meta.number(11).map_or(start, |at| *at) as usize;
                let end = start + *meta.number(7).unwrap() as usize;
                let (mut at, mut pages) = (start, Vec::new());
                while at < end {
                    let mut header = Thrift::read(file, &mut at);
                    let size = *header.number(3).unwrap() as usize;
                    pages.push(Page { header, body: file[at..at + size].to_vec() });
                    at += size;
                }
                chunks.push(pages);
            }
        }
        Parts { chunks, footer }
    }

    /// Says in the footer where the columns lie.
    pub(super) fn place(&mut self) {
        let mut at = 4;
        let mut chunks = self.chunks.iter_mut();
        for group in self.footer.elements(4) {
            for column in group.elements(1) {
                let meta = column.field(3).unwrap();
                let (begin, mut data, mut dictionary) = (at, None, None);
                for page in chunks.next().unwrap() {
                    let first = if page.is_dictionary() { &mut dictionary } else { &mut data };
                    first.get_or_insert(at);
                    let mut header = Vec::new();
                    page.header.write(&mut header);
                    at += (header.len() + page.body.len()) as i64;
                }
                *meta.number(7).unwrap() = at - begin;
                *meta.number(9).unwrap() = data.unwrap_or(begin);
                if let Some(offset) = meta.number(11) {
                    *offset = dictionary.unwrap_or(begin);
                }
            }
        }
    }

    /// The file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut file = b"PAR1".to_vec();
        for page in self.chunks.iter().flatten() {
            page.header.write(&mut file);
            file.extend(&page.body);
        }
        let start = file.len();
        self.footer.write(&mut file);
        file.extend(((file.len() - start) as u32).to_le_bytes());
        file.extend(b"PAR1");
        file
    }

    /// Changes so many things in it.
    pub(super) fn mutate(&mut self, times: usize, seed: &mut ChaCha8Rng) {
        let mut of_footer = 0;
        for _ in 0..times {
            match seed.random_range(0..10) {
                0..7 => self.mutate_pages(seed),
                7 => {
                    let (one, other) =
                        (seed.random_range(0..self.chunks.len()), seed.random_range(0..self.chunks.len()));
                    self.chunks.swap(one, other);
                }
                _ => of_footer += 1,
            }
        }
        self.place();
        (0..of_footer).for_each(|_| self.footer.mutate(seed));
    }

    fn mutate_pages(&mut self, seed: &mut ChaCha8Rng) {
        let page = self.chunks.choose_mut(seed).and_then(|pages| pages.choose_mut(seed)).unwrap();
        match seed.random_range(0..7) {
            0..3 => page.header.mutate(seed),
            // Levels and dictionaries begin a page.
            3..6 if !page.body.is_empty() => {
                let within = if seed.random() { page.body.len() } else { page.body.len().min(12) };
                let at = seed.random_range(0..within);
                page.body[at] = [0, 1, 0x7f, 0x80, 0xff, seed.random()][seed.random_range(0..6)];
            }
            _ => {
                let half = page.body.len() / 2;
                if seed.random() {
                    page.body.truncate(half)
                } else {
                    page.body.extend(vec![0xff; 9])
                }
                // Told, or not.
                let sizes = if seed.random() { vec![2, 3] } else { Vec::new() };
                for id in sizes {
                    if let Some(size) = page.header.number(id) {
                        *size = page.body.len() as i64;
                    }
                }
            }
        }
    }
}

/// A file of these rows as different writers would write it.
pub(super) fn written(batch: &RecordBatch, seed: &mut ChaCha8Rng) -> Vec<u8> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let compressions = [Compression::UNCOMPRESSED, Compression::UNCOMPRESSED, Compression::SNAPPY, zstd];
    let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
    let properties = WriterProperties::builder()
        .set_compression(*compressions.choose(seed).unwrap())
        .set_writer_version(*versions.choose(seed).unwrap())
        .set_dictionary_enabled(seed.random())
        .set_data_page_row_count_limit(seed.random_range(1..30))
        .set_write_batch_size(4)
        .set_max_row_group_row_count(Some(seed.random_range(10..60)))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}
