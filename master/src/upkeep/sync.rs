//! Brings the store in line with the configuration: registers what is new, and retires what is no longer configured. The
//! results of what is retired stay.

use anyhow::{Context, Result};
use domain::variant::is_chosen;
use store::Store;

use crate::config::Config;

pub async fn sync(store: &Store, config: &Config) -> Result<()> {
    let config = config.clone();
    store
        .write(move |tx| {
            Box::pin(async move {
                for branch in tx.branches().await? {
                    tx.retire_branch(branch.id).await?;
                }
                for project in tx.projects().await? {
                    tx.retire_project(project.id).await?;
                }
                tx.retire_builders().await?;
                for trunk in &config.trunks {
                    let trunk_id = tx.put_trunk(&trunk.name, &trunk.git).await?;
                    let builds = trunk.builds();
                    for build in &builds {
                        tx.put_recipe(&build.recipe).await?;
                    }
                    let mut projects = Vec::new();
                    for project in config.projects.iter().filter(|project| project.trunk == trunk.name) {
                        tx.put_recipe(&project.recipe).await?;
                        let id = tx.put_project(trunk_id, &project.name, &project.git).await?;
                        tx.set_canary(id, project.canary).await?;
                        tx.put_marks(id, &project.marks).await?;
                        tx.set_project_wants(id, &project.wants).await?;
                        tx.forget_refs_but(id, project.follow.wanted_ref()).await?;
                        // A source alone has no suite to build.
                        if !project.source_only {
                            projects.push((id, project));
                        }
                    }
                    for branch in &trunk.branches {
                        let branch = tx.put_branch(trunk_id, branch).await?;
                        for label in &trunk.platforms {
                            let platform = tx.put_platform(label).await?;
                            for build in &builds {
                                let variant = (build.key.as_str(), build.name.as_deref());
                                tx.put_variant_builder(branch, platform, None, variant).await?;
                                let chosen =
                                    projects.iter().filter(|(_, it)| is_chosen(it.variants.as_ref(), build));
                                for &(project, _) in chosen {
                                    tx.put_variant_builder(branch, platform, Some(project), variant).await?;
                                }
                            }
                        }
                    }
                }
                tx.forget_retired_refs().await
            })
        })
        .await
        .context("bringing the store in line with the configuration")
}
