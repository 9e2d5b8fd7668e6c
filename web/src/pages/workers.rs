//! `/workers`: who lends machines, what they are, and which of them are here.

use askama::Template;
use serde::Serialize;

use super::{Frame, Mark, Page};
use crate::format::shade::Shade;
use crate::format::units::At;

#[derive(Debug, Clone, Serialize)]
pub struct Workers {
    pub sentence: String,
    pub workers: Vec<Worker>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Worker {
    pub name: String,
    pub owner: Option<String>,
    pub trust: Option<String>,
    pub shade: Shade,
    /// `idle`, `2 of 4 slots busy`, `absent`, `waits for the operator`
    pub said: String,
    /// `linux x86_64, debian12, gnu, 8 cpus, bubblewrap`
    pub facts: String,
    pub version: String,
    pub seen_at: Option<At>,
    pub running: Vec<Mark>,
}

#[derive(Template)]
#[template(path = "workers.html")]
struct Html<'a> {
    frame: &'a Frame,
    page: &'a Workers,
}

impl Page for Workers {
    const HERE: &'static str = "/workers";

    fn html(&self, frame: &Frame) -> askama::Result<String> {
        Html { frame, page: self }.render()
    }
}
