//! What all pictures have in common.

use std::fmt::Write as _;

/// Colours that can be told apart on light and on dark ground, and by those who do not see red and green.
const STYLE: &str = "\
svg{background:#fff;color:#1b1f24;font:13px ui-monospace,Menlo,Consolas,monospace}\
text{fill:#1b1f24}line,path,rect{stroke:#57606a;stroke-width:1.3;fill:none}\
.life{stroke:#8c959f;stroke-width:2}.title{font-weight:bold}.time,.faint{fill:#6e7781}\
.remark{font-size:11.5px}.control line{stroke:#0969da}.control text{fill:#0550ae}\
.trouble line{stroke:#bc4c00}.trouble text{fill:#953800}.reset line{stroke:#cf222e}\
.reset text{fill:#a40e26}text.time{fill:#6e7781}rect.message{fill:#ddf4ff;stroke:#0969da}\
rect.segment{fill:#f6f8fa}rect.glued{fill:#fff1e5;stroke:#bc4c00}\
rect.read{fill:#dafbe1;stroke:#1a7f37}\
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}\
line,path,rect{stroke:#8b949e}.time,.faint,text.time{fill:#8b949e}.control line{stroke:#58a6ff}\
.control text{fill:#79c0ff}.trouble line{stroke:#f0883e}.trouble text{fill:#ffa657}\
.reset line{stroke:#f85149}.reset text{fill:#ff7b72}rect.message{fill:#0c2d6b;stroke:#58a6ff}\
rect.segment{fill:#21262d}rect.glued{fill:#5a1e02;stroke:#f0883e}\
rect.read{fill:#033a16;stroke:#3fb950}}";

/// Opens a picture of so many pixels.
pub(crate) fn open(width: u32, height: u32) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"point\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" style=\"fill:context-stroke;\
         stroke:none\"/></marker></defs>\n"
    )
}

/// A page with pictures, each under its title.
pub(crate) fn page(title: &str, pictures: &[(&str, &str)]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\
         <style>:root{{color-scheme:light dark}}body{{font:15px system-ui,sans-serif;margin:2em}}\
         svg{{max-width:100%;height:auto}}h1{{font-size:1.2em}}</style></head>\n<body>\n",
        escape(title)
    );
    for (title, svg) in pictures {
        let _ = writeln!(page, "<h1>{}</h1>\n{svg}", escape(title));
    }
    page + "</body></html>\n"
}

/// A text for XML and HTML. What neither can hold is replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' => escaped.push(' '),
            // XML 1.0 §2.2 has no place for these.
            character if character.is_control() => escaped.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}
