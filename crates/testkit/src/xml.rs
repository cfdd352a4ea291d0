//! Fields of the hosts' XML answers by tag, as clients read them: first match at any depth (protocol text §2.1).

/// Text of the first element named `tag`, entities resolved. An empty element gives an empty text.
pub fn field(xml: &str, tag: &str) -> Option<String> {
    element(xml, tag).map(|(content, _)| unescape(content))
}

/// Inner text of every element named `tag`, not resolved.
pub fn each<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some((content, after)) = element(rest, tag) {
        found.push(content);
        rest = after;
    }
    found
}

/// Attribute of the root element.
pub fn root_attribute(xml: &str, name: &str) -> Option<String> {
    let start = xml.find("<root")?;
    let head = &xml[start..start + xml[start..].find('>')?];
    let needle = format!(" {name}=\"");
    let begin = head.find(&needle)? + needle.len();
    let end = begin + head[begin..].find('"')?;
    Some(unescape(&head[begin..end]))
}

/// Content and what follows the first element named `tag`.
fn element<'a>(xml: &'a str, tag: &str) -> Option<(&'a str, &'a str)> {
    let mut from = 0;
    loop {
        let open = from + xml[from..].find('<')? + 1;
        let rest = &xml[open..];
        let close = open + rest.find('>')?;
        let head = &xml[open..close];
        from = close + 1;
        let name = head.trim_end_matches('/').split_whitespace().next().unwrap_or("");
        if name != tag {
            continue;
        }
        if head.ends_with('/') {
            return Some(("", &xml[from..]));
        }
        let end_tag = format!("</{tag}>");
        let end = from + xml[from..].find(&end_tag)?;
        return Some((&xml[from..end], &xml[end + end_tag.len()..]));
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').unwrap_or(0);
        let entity = &rest[..=end];
        let character = match entity {
            "&lt;" => Some('<'),
            "&gt;" => Some('>'),
            "&amp;" => Some('&'),
            "&quot;" => Some('"'),
            "&apos;" => Some('\''),
            _ => numeric(entity),
        };
        match character {
            Some(character) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn numeric(entity: &str) -> Option<char> {
    let digits = entity.strip_prefix("&#")?.strip_suffix(';')?;
    let code = match digits.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_attributes_and_lists() {
        let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"404\" status_message=\"No &quot;it&quot;\">\
                   <hostname>a &amp; b &#65;&#x42; &x</hostname><empty/><none></none>\
                   <App><ID>1</ID></App><AppX/><App><ID>2</ID></App></root>";
        assert_eq!(field(xml, "hostname").as_deref(), Some("a & b AB &x"));
        assert_eq!(field(xml, "empty").as_deref(), Some(""));
        assert_eq!(field(xml, "none").as_deref(), Some(""));
        assert_eq!(field(xml, "missing"), None);
        assert_eq!(each(xml, "App"), ["<ID>1</ID>", "<ID>2</ID>"]);
        assert_eq!(root_attribute(xml, "status_code").as_deref(), Some("404"));
        assert_eq!(root_attribute(xml, "status_message").as_deref(), Some("No \"it\""));
        assert_eq!(field("<root><a>never closed", "a"), None);
    }
}
