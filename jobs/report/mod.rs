//! HTML and SVG from results: one self-contained page per model and night, and an index.
//!
//! A page is a file that can be mailed and is still there in ten years: no network, no framework, no second file. What
//! a page shows is in [`page`], as plain structs that `pipeline` fills from the lake; nothing is computed here but
//! where a mark stands. What is not there is left out with a sentence ([`page::Section`]), never drawn as if it were.
//!
//! | file | what |
//! |---|---|
//! | `page` | everything a page shows |
//! | `model`, `experiment`, `index` | the pages |
//! | `gate`, `quality`, `explanation`, `operation`, `customers` | sections of a model's page |
//! | `charts` | one chart per file, drawn by plotters |
//! | `html`, `format` | the document around it, escaping, tables; numbers as people read them |
//! | `style.css`, `script.js` | inlined, and named by their hashes in the page's content security policy |

mod charts;
mod customers;
mod experiment;
mod explanation;
mod format;
mod gate;
mod html;
mod index;
mod model;
mod operation;
pub mod page;
mod quality;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use experiment::experiment;
pub use html::spellings;
pub use index::index;
pub use model::model;
pub use quality::plots;
