//! Errors that point into a pipeline file: line, column, the text, the remedy.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in lower case and without a final stop.
    pub message: String,
    /// The bytes of the file it is about.
    pub span: Range<usize>,
    /// What stands under the marked text, such as "did you mean `horizon`?".
    pub label: String,
}

/// Everything that is wrong in one file, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The file as the user named it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// At least one entry.
    pub items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// The line and column (both from 1, in characters) of a byte offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.items.iter().enumerate() {
            let (line, column) = self.position(item.span.start);
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{line}: {}", self.file, item.message)?;
            let source = self.text.lines().nth(line - 1).unwrap_or("");
            let (_, end_column) = self.position(item.span.end);
            let same_line = self.position(item.span.end).0 == line;
            let width = if same_line { end_column.saturating_sub(column).max(1) } else { 1 };
            let margin = " ".repeat(line.to_string().len());
            let before = " ".repeat(column - 1);
            write!(f, "\n  {line} │ {source}\n  {margin} │ {before}{}", "^".repeat(width))?;
            if !item.label.is_empty() {
                write!(f, " {}", item.label)?;
            }
        }
        write!(f, "\nhelp: `foretell check {}` lists every key with its meaning", self.file)
    }
}

impl std::error::Error for Diagnostics {}
