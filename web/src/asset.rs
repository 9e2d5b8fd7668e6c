//! The three files below `/static`, in the binary. A browser keeps them, and asks by their hash whether they changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::answer::PageError;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset { name: "farm.css", kind: "text/css; charset=utf-8", text: include_str!("../static/farm.css") },
    Asset {
        name: "farm.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../static/farm.js"),
    },
    Asset { name: "farm.svg", kind: "image/svg+xml", text: include_str!("../static/farm.svg") },
];

pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, PageError> {
    let asset =
        ASSETS.iter().find(|asset| asset.name == name).ok_or(PageError::nowhere("There is no such file."))?;
    Ok(tagged(&headers, asset.kind, asset.text))
}

/// An answer with its content's hash as ETag; 304 to whoever has it already.
pub fn tagged(asked: &HeaderMap, kind: &'static str, body: impl Into<String>) -> Response {
    let body = body.into();
    let mut hasher = DefaultHasher::new();
    (kind, &body).hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let head = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".into())];
    let has_it = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().trim_start_matches("W/") == tag);
    match has_it {
        true => (StatusCode::NOT_MODIFIED, head).into_response(),
        false => (head, [(header::CONTENT_TYPE, kind)], body).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The custom properties of a block of the sheet that are colours.
    fn colours(css: &str) -> BTreeMap<&str, [f64; 3]> {
        css.split(['{', ';', '}'])
            .filter_map(|rule| rule.trim().strip_prefix("--")?.split_once(": #"))
            .filter(|(_, hex)| hex.len() == 6)
            .map(|(name, hex)| {
                let part = |at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                (name, [part(0), part(2), part(4)])
            })
            .collect()
    }

    /// Relative luminance and contrast as WCAG 2.2 defines them.
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
            0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_has_a_contrast_of_six_and_a_half_in_light_and_dark() {
        let (light, rest) = ASSETS[0].text.split_once("@media (prefers-color-scheme: dark)").unwrap();
        let (dark, _) = rest.split_once("* { box-sizing").unwrap();
        let light = colours(light);
        let mut both = light.clone();
        both.extend(colours(dark));
        for (theme, colours) in [("light", light), ("dark", both)] {
            let mut pairs: Vec<(String, String)> = colours
                .keys()
                .filter_map(|name| name.strip_suffix("-ink"))
                .map(|name| (format!("{name}-ink"), name.to_string()))
                .collect();
            for ink in ["ink", "soft", "link"] {
                pairs.extend(["page", "panel"].map(|ground| (ink.to_string(), ground.to_string())));
            }
            pairs.extend((1..=6).map(|n| (format!("ansi-{n}"), "panel".to_string())));
            assert!(pairs.len() > 20);
            for (ink, ground) in pairs {
                let found = contrast(colours[ink.as_str()], colours[ground.as_str()]);
                assert!(found >= 6.5, "{theme}: {ink} on {ground} is {found:.2}");
            }
        }
    }

    #[test]
    fn every_shade_has_its_class_in_the_sheet() {
        for status_style in crate::StatusStyle::ALL {
            assert!(ASSETS[0].text.contains(&format!(".{status_style}")), "{status_style}");
        }
    }

    #[test]
    fn who_has_the_file_is_not_sent_it_again() {
        let first = tagged(&HeaderMap::new(), "text/css", "a{}");
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(tagged(&asked, "text/css", "a{}").status(), StatusCode::NOT_MODIFIED);
        assert_eq!(tagged(&asked, "text/css", "b{}").status(), StatusCode::OK);
    }
}
