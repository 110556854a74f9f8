//! A night in little memory.
