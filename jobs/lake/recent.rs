//! What was lately read from or written to storage far away and never changes: log entries, checkpoints, data files.
//!
//! A job looks at the log of a table several times: to plan, to pin, to write, to commit; and the next step of a night
//! reads what the last one wrote. On a local disk that costs nothing, in a bucket each look is a round trip. Names of
//! data files are never used twice and a log entry is never written over, so their bytes may be kept for as long as the
//! job runs. What exists is never answered from here: lists always go to storage.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;

/// Larger objects are not kept.
pub(super) const LARGEST: u64 = 4 << 20;
/// All that is kept.
const ROOM: usize = 64 << 20;

/// Objects by their path; the oldest goes when there is no more room.
#[derive(Debug, Default, Clone)]
pub(super) struct Recent(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    objects: HashMap<Path, (ObjectMeta, Bytes)>,
    order: VecDeque<Path>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, path: &Path) -> Option<(ObjectMeta, Bytes)> {
        self.kept().objects.get(path).cloned()
    }

    /// Keeps a whole object, if it is one that never changes, and small.
    pub(super) fn keep(&self, meta: ObjectMeta, bytes: &Bytes) {
        if !is_final(&meta.location) || bytes.len() as u64 > LARGEST {
            return;
        }
        let mut kept = self.kept();
        if kept.objects.contains_key(&meta.location) {
            return;
        }
        while kept.bytes + bytes.len() > ROOM {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.remove(&oldest);
        }
        kept.bytes += bytes.len();
        kept.order.push_back(meta.location.clone());
        kept.objects.insert(meta.location.clone(), (meta, bytes.clone()));
    }

    pub(super) fn forget(&self, path: &Path) {
        let mut kept = self.kept();
        kept.remove(path);
        kept.order.retain(|other| other != path);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, path: &Path) {
        if let Some((_, bytes)) = self.objects.remove(path) {
            self.bytes -= bytes.len();
        }
    }
}

/// Whether an object of this name is written once and never again.
pub(super) fn is_final(path: &Path) -> bool {
    let Some(name) = path.filename() else { return false };
    let in_log = path.parts().rev().nth(1).is_some_and(|part| part.as_ref() == "_delta_log");
    match in_log {
        true => name.len() > 20 && name.as_bytes()[..20].iter().all(u8::is_ascii_digit),
        false => {
            let ours = [super::encode::PART, super::rewrite::PACKED].iter().any(|prefix| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".zstd.parquet"))
            });
            ours && name.len() > 36
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn meta(path: &str, size: usize) -> ObjectMeta {
        let last_modified = DateTime::UNIX_EPOCH;
        ObjectMeta { location: path.into(), last_modified, size: size as u64, e_tag: None, version: None }
    }

    #[test]
    fn only_what_never_changes_is_kept() {
        let part = "lake/t/event_date=2024-01-01/part-018f4b8e-0000-4000-8000-000000000000.zstd.parquet";
        let checkpoint = "lake/t/_delta_log/00000000000000000020.checkpoint.parquet";
        for path in ["lake/t/_delta_log/00000000000000000001.json", checkpoint, part] {
            assert!(is_final(&path.into()), "{path}");
        }
        let raw = "raw/pay/day=2024-01-01/part-0.zstd.parquet";
        for path in ["lake/t/_delta_log/_last_checkpoint", "lake/running/note.json", raw, "lake/models/m/v/_files.json"]
        {
            assert!(!is_final(&path.into()), "{path}");
        }
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_more_room() {
        let recent = Recent::default();
        let name = |n: usize| format!("t/_delta_log/{n:020}.json");
        let bytes = Bytes::from(vec![0; LARGEST as usize]);
        let fit = ROOM / bytes.len();
        (0..=fit).for_each(|n| recent.keep(meta(&name(n), bytes.len()), &bytes));
        assert!(recent.get(&name(0).into()).is_none());
        assert!((1..=fit).all(|n| recent.get(&name(n).into()).is_some()));
        recent.forget(&name(1).into());
        assert!(recent.get(&name(1).into()).is_none());
        recent.keep(meta(&name(fit + 1), bytes.len()), &bytes);
        assert!(recent.get(&name(2).into()).is_some(), "room was made by what was forgotten");
    }
}
