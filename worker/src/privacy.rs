//! What a worker says of itself is read by everybody, so it names no path of its machine: the worker's folder is called
//! `<worker>`, whoever wrote the sentence.

use std::path::Path;

use protocol::{Event, InfraFailure};

/// An event as the farm may publish it: what the worker itself says names no path of its machine.
pub fn without_paths(mut event: Event, root: &Path) -> Event {
    let clean = |text: &mut String| *text = without_path(text, root);
    match &mut event {
        Event::StepEnded { warnings, .. } => warnings.iter_mut().for_each(clean),
        Event::Finished { infra_failure: Some(failure), .. } => match failure {
            InfraFailure::Checkout { detail, .. }
            | InfraFailure::Toolchain { detail }
            | InfraFailure::Sandbox { detail }
            | InfraFailure::NoSpace { detail }
            | InfraFailure::Worker { detail }
            | InfraFailure::HandedBack { detail } => clean(detail),
        },
        Event::Started { .. }
        | Event::StepStarted { .. }
        | Event::LogTruncated { .. }
        | Event::Lock { .. }
        | Event::Answer { .. }
        | Event::Finished { infra_failure: None, .. } => {}
    }
    event
}

/// The worker's folder becomes `<worker>`, in whatever form a library prints it.
fn without_path(text: &str, root: &Path) -> String {
    let path = root.to_string_lossy();
    let mut forms = vec![path.clone().into_owned(), path.escape_debug().to_string()];
    // A library may print a path as the system knows it.
    forms.extend(root.canonicalize().ok().map(|real| real.to_string_lossy().into_owned()));
    forms
        .iter()
        .filter(|form| form.len() > 1)
        .fold(text.to_string(), |text, form| text.replace(form.as_str(), "<worker>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_reports_names_no_path_of_its_machine() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("ada's worker");
        std::fs::create_dir(&root).unwrap();
        let said = |path: &Path| format!("creating {}/work/7: denied, {path:?}", path.display());
        let named = |text: &str| text.contains("ada") || text.contains(&*folder.path().to_string_lossy());
        for detail in [said(&root), said(&root.join("work")), format!("file://{}/git/x", root.display())] {
            let failures = [
                InfraFailure::Checkout { detail: detail.clone(), missing: None },
                InfraFailure::Toolchain { detail: detail.clone() },
                InfraFailure::Sandbox { detail: detail.clone() },
                InfraFailure::NoSpace { detail: detail.clone() },
                InfraFailure::Worker { detail: detail.clone() },
            ];
            for failure in failures {
                let event = Event::Finished { results: None, artifact: None, infra_failure: Some(failure) };
                let sent = serde_json::to_string(&without_paths(event, &root)).unwrap();
                assert!(!named(&sent) && sent.contains("<worker>"), "{sent}");
            }
            let event = Event::StepEnded {
                step: 0,
                end: protocol::StepEnd::Cancelled,
                duration_ms: 0,
                warnings: vec![detail.clone()],
            };
            let sent = serde_json::to_string(&without_paths(event, &root)).unwrap();
            assert!(!named(&sent) && sent.contains("<worker>"), "{sent}");
        }
    }
}
