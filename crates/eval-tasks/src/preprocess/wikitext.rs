use std::sync::LazyLock;

use record_files::Row;

use super::functions::text;
use crate::python::Pattern;

/// The text of a page as people write it: the inverse of WikiText's tokeniser, as far as the
/// harness undoes it.
pub(super) fn detokenize(page: &str) -> String {
    static SPACED: LazyLock<Vec<(Pattern, &str)>> = LazyLock::new(|| {
        let patterns = [
            (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
            (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
            (r"{\s*([^}]*?)\s*}", r"{\1}"),
            (r#""\s*([^"]*?)\s*""#, r#""\1""#),
            (r"'\s*([^']*?)\s*'", r"'\1'"),
        ];
        let compiled = patterns.map(|(pattern, by)| Some((Pattern::new(pattern).ok()?, by)));
        compiled.into_iter().flatten().collect()
    });
    static CONTRACTION: LazyLock<Option<Pattern>> =
        LazyLock::new(|| Pattern::new(r"/' [0-9]/").ok());

    let mut text = page.replace("s '", "s'");
    if let Some(pattern) = &*CONTRACTION {
        text = pattern.replace(&text, "/'[0-9]/", 0);
    }
    for (from, to) in [
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (" @.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (" . ", ". "),
        (" ! ", "! "),
        (" ? ", "? "),
        (" , ", ", "),
    ] {
        text = text.replace(from, to);
    }
    for (pattern, by) in &*SPACED {
        text = pattern.replace(&text, by, 0);
    }
    for (from, to) in [
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" \u{b0} ", "\u{b0}"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// Joins lines to pages: a page begins at a heading ` = Title = ` of the first level.
pub(super) fn pages(rows: &[Row]) -> Result<Vec<Row>, (usize, String)> {
    let mut pages = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut push = |lines: &mut Vec<&str>, last: bool| {
        let page = lines.join("\n");
        if last || !page.trim().is_empty() {
            pages.push(Row::from_iter([("page".to_owned(), page.into())]));
        }
        lines.clear();
    };
    for (index, row) in rows.iter().enumerate() {
        let line = text(row, "text").map_err(|error| (index, error))?;
        let flat = line.replace("= = =", "===").replace("= =", "==");
        if flat.starts_with(" = ") && flat.trim().ends_with(" =") {
            push(&mut lines, false);
        }
        lines.push(line);
    }
    if !lines.is_empty() {
        push(&mut lines, true);
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Reference: wikitext_detokenizer of the harness's preprocess_wikitext.py, Python 3.11.
    #[test]
    fn a_page_is_detokenised() {
        let page = " = Robert 's \" Boulter \" = \n \n He had 1 @,@ 000 @-@ odd ( a ) . \" x ' y ' \" \
            , z ; dogs ' = = A = = \n 5 \u{b0} N [ q ] { r } ! \n";
        assert_eq!(
            detokenize(page),
            " = Robert's \"Boulter\" =\n\nHe had 1,000-odd (a). \"x' y '\", z; dogs' == A ==\n5°N [q] {r}!\n"
        );
    }

    #[test]
    fn pages_begin_at_headings_of_the_first_level() {
        let lines = " \n = A = \n \n = = B = = \n text \n = C = \n more \n";
        let rows: Vec<Row> =
            lines.lines().map(|line| Row::from_iter([("text".to_owned(), line.into())])).collect();
        let pages = pages(&rows).unwrap();
        let texts: Vec<&str> = pages.iter().map(|page| text(page, "page").unwrap()).collect();
        assert_eq!(texts, [" = A = \n \n = = B = = \n text ", " = C = \n more "]);
    }
}
