//! What this binary is made of. The build script takes versions from the lock file; LightGBM's is known to whoever
//! calls it.

use crate::learn::lightgbm;

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, or `unknown`.
pub const COMMIT: &str = env!("SCOREHOUSE_COMMIT");

/// The libraries whose versions decide what a lake looks like and what a model predicts.
pub const LIBRARIES: [(&str, &str); 5] = [
    ("datafusion", env!("SCOREHOUSE_DATAFUSION")),
    ("arrow", env!("SCOREHOUSE_ARROW")),
    ("parquet", env!("SCOREHOUSE_PARQUET")),
    ("deltalake", env!("SCOREHOUSE_DELTALAKE")),
    ("LightGBM", lightgbm::VERSION),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_known() {
        for (library, version) in LIBRARIES {
            let numbers: Vec<&str> = version.split('.').collect();
            assert!(numbers.len() == 3 && numbers[0].parse::<u32>().is_ok(), "{library} {version}");
        }
        // The safe crate's number is not the library's: see `lightgbm::VERSION`.
        assert_eq!(env!("SCOREHOUSE_LIGHTGBM3"), "1.0.11", "is there another LightGBM inside?");
    }
}
