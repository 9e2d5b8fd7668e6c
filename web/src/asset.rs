//! The three files below `/static`. They are compiled into the binary.

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::answer::PageError;
use crate::etag::with_etag;

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
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .ok_or(PageError::not_found("There is no such file."))?;
    Ok(with_etag(&headers, asset.kind, asset.text))
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
    fn every_status_style_has_a_class_in_the_sheet() {
        for status_style in crate::StatusStyle::ALL {
            assert!(ASSETS[0].text.contains(&format!(".{status_style}")), "{status_style}");
        }
    }
}
