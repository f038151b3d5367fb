//! One self-contained HTML page: sections, tables, key figures and notices.
//!
//! No script, no font, no network. What stands on a page is decided by its caller.

use std::fmt::Write as _;

use crate::chart;

const STYLE: &str = include_str!("page.css");

/// Text made safe for HTML content and attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in HTML and come only from broken files.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// How a notice or a state is meant. A sign and words carry it beside the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should be: ✔.
    Good,
    /// To be known: !.
    Warning,
    /// Wrong: ✖.
    Bad,
    /// Without weight: –.
    Plain,
}

impl Mood {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✔",
            Self::Warning => "!",
            Self::Bad => "✖",
            Self::Plain => "–",
        }
    }

    /// A word with its sign, as HTML.
    pub fn badge(self, word: &str) -> String {
        let (class, sign, word) = (self.class(), self.sign(), escape(word));
        format!(
            "<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {word}</span>"
        )
    }
}

/// A page as it grows.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    lead: String,
    sections: Vec<(String, String)>,
    body: String,
}

impl Page {
    /// A page with its title and one line under it, both plain text.
    pub fn new(title: &str, lead: &str) -> Self {
        let (title, lead) = (escape(title), escape(lead));
        Self { title, lead, sections: Vec::new(), body: String::new() }
    }

    /// Adds a notice: plain text in a frame.
    #[must_use]
    pub fn notice(mut self, mood: Mood, text: &str) -> Self {
        let (class, sign, text) = (mood.class(), mood.sign(), escape(text));
        let _ = writeln!(
            self.body,
            "<p class=\"notice {class}\" role=\"note\"><b aria-hidden=\"true\">{sign}</b> {text}</p>"
        );
        self
    }

    /// Adds key figures: what, how much, and a remark.
    #[must_use]
    pub fn figures<'a>(
        mut self,
        figures: impl IntoIterator<Item = (&'a str, String, String)>,
    ) -> Self {
        self.body.push_str("<dl class=\"figures\">\n");
        for (what, value, remark) in figures {
            let (what, value, remark) = (escape(what), escape(&value), escape(&remark));
            let _ = writeln!(
                self.body,
                "<div><dt>{what}</dt><dd><strong>{value}</strong><small>{remark}</small></dd></div>"
            );
        }
        self.body.push_str("</dl>\n");
        self
    }

    /// Adds a section: its heading as plain text, its content as HTML (figures of
    /// [`chart`], [`Table::html`], [`escape`]d text).
    #[must_use]
    pub fn section(mut self, heading: &str, html: &str) -> Self {
        let id = format!("s{}", self.sections.len() + 1);
        let heading = escape(heading);
        let _ = writeln!(
            self.body,
            "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{heading}</h2>\n\
             {html}\n</section>"
        );
        self.sections.push((id, heading));
        self
    }

    /// The whole document.
    pub fn html(&self) -> String {
        let links: Vec<_> = self
            .sections
            .iter()
            .map(|(id, heading)| format!("<a href=\"#{id}\">{heading}</a>"))
            .collect();
        let nav = if links.len() < 3 {
            String::new()
        } else {
            format!("<nav aria-label=\"Sections\">{}</nav>\n", links.join(" "))
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n{nav}</header>\n{}</main>\n\
             </body>\n</html>\n",
            chart::STYLE,
            self.lead,
            self.body,
            title = self.title,
        )
    }
}

/// A table; cells are HTML, made by [`Table::row`] from plain text.
#[derive(Debug, Clone)]
pub struct Table {
    caption: String,
    headers: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A header that begins with `#` names a column of numbers, which
    /// stands to the right; the sign is not shown.
    pub fn new(caption: &str, headers: &[&str]) -> Self {
        let header = |h: &&str| match h.strip_prefix('#') {
            Some(name) => (escape(name), true),
            None => (escape(h), false),
        };
        let headers = headers.iter().map(header).collect();
        Self { caption: escape(caption), headers, rows: Vec::new() }
    }

    /// Adds a row of plain texts; the first names the row.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) -> &mut Self {
        self.rows.push(cells.into_iter().map(|c| escape(c.as_ref())).collect());
        self
    }

    /// Adds a row of cells that are HTML already; the first names the row.
    pub fn row_of_html(&mut self, cells: Vec<String>) -> &mut Self {
        self.rows.push(cells);
        self
    }

    /// The table as HTML, in a frame that scrolls when it is wide.
    pub fn html(&self) -> String {
        let mut html = format!(
            "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"{c}\"><table>\n\
             <caption>{c}</caption>\n<thead><tr>",
            c = self.caption
        );
        for (name, number) in &self.headers {
            let class = if *number { " class=\"number\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{name}</th>");
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let number = self.headers.get(i).is_some_and(|(_, number)| *number);
                let class = if number { " class=\"number\"" } else { "" };
                if i == 0 {
                    let _ = write!(html, "<th scope=\"row\"{class}>{cell}</th>");
                } else {
                    let _ = write!(html, "<td{class}>{cell}</td>");
                }
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}
