//! Definition text → validated types → graph → SQL. Pure: no I/O, no clock.
