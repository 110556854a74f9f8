//! Delta tables, raw files and commits. The only user of `object_store` and `deltalake`.

mod error;
