//! The page of all kinds and sets, written from the table that computes them.

use std::fmt::Write as _;

use crate::definition::{Fallback, Memory};
use crate::kinds::{KERNEL_VERSION, kinds};
use crate::params::Params;
use crate::set::FeatureSet;

/// Every kind of feature and every shipped set as Markdown: definitions, sources,
/// memories, parameters with their defaults, warm-ups and content hashes.
pub fn catalogue() -> String {
    let mut page = String::from(INTRODUCTION);
    write_kinds(&mut page);
    for name in FeatureSet::NAMES {
        if let Ok(set) = FeatureSet::named(name, &Params::new()) {
            write_set(&mut page, &set);
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Features

Written from the table in `crates/feature/src/kinds` by `cargo run --example catalogue`; a test holds
this page to it.

- Lags and windows count intervals, not rows. A window with a missing interval is null; a lag is null
  when the interval it names is missing.
- A rolling value depends on its window's rows alone. A recursive one begins at the origin that its
  definition names; a saved state continues it with the same bits.
- A value that would not be finite is null (pandas: ±inf).
- Times are those of a row's open, UTC, unless `offset` is 1.

Where a reference differs by convention:

- `ewm_mean` follows pandas on the re-indexed grid: across a gap old terms age by intervals and nothing
  is reset. TA-Lib knows no gaps: its recursive indicators start anew after one.
- pandas slides a running sum along a column and drifts: over 55,697 real hours its deviation of three
  hours is off by 6e-8 of the column's scale, this one by 6e-16 (against extended precision).
- TA-Lib withholds the first line of STOCH, STOCHF and STOCHRSI until the second exists; here each line
  starts when its own window is whole.
- `kraken-62` takes TA-Lib's defaults for SAR, SAREXT and T3. The stream's own code passes 0 for their
  accelerations and volume factor, which makes SAR a step function; `SAR.acceleration = 0`,
  `SAR.maximum = 0` and `T3.volume_factor = 0` give that.

";

fn write_kinds(page: &mut String) {
    page.push_str("## Kinds\n\n| kind | definition | memory | parameters | source |\n");
    page.push_str("|---|---|---|---|---|\n");
    for kind in kinds() {
        let memory = match kind.memory {
            Memory::Cells => "cells",
            Memory::Window => "window",
            Memory::Recursive => "recursive",
        };
        let parameter = |p: &crate::definition::Parameter| match p.fallback {
            Fallback::Column(name) => format!("`{}` = {name}: {}", p.name, p.meaning),
            Fallback::Count { value, .. } => format!("`{}` = {value}: {}", p.name, p.meaning),
            Fallback::Number { value, .. } => format!("`{}` = {value}: {}", p.name, p.meaning),
        };
        let parameters: Vec<String> = kind.parameters.iter().map(parameter).collect();
        let (definition, parameters) = (escape(kind.definition), escape(&parameters.join("; ")));
        let (id, source) = (kind.id, escape(kind.source));
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{id}` | {definition} | {memory} | {parameters} | {source} |");
    }
}

fn write_set(page: &mut String, set: &FeatureSet) {
    let (name, len, warm_up) = (set.name(), set.len(), set.warm_up());
    let inputs: Vec<String> = set.inputs().iter().map(|c| format!("`{c}`")).collect();
    let _ = writeln!(
        page,
        "\n## `{name}`\n\n{len} columns from {}; warm-up {warm_up} rows; kernel version \
         {KERNEL_VERSION}; content hash `{}`.\n\n| column | kind | parameters | warm-up | recursive |\n\
         |---|---|---|---|---|",
        inputs.join(", "),
        set.fingerprint()
    );
    for doc in set.definitions() {
        let parameters: Vec<String> =
            doc.parameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let recursive = if doc.recursive { "yes" } else { "" };
        let (name, kind, warm_up) = (&doc.name, &doc.kind, doc.warm_up);
        let parameters = parameters.join(", ");
        let _ = writeln!(page, "| `{name}` | `{kind}` | {parameters} | {warm_up} | {recursive} |");
    }
}

/// A bar would end a table's cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
