//! Counts how many tests are not reached any longer where a suite dies, once it is known what broke it.

use domain::breakage::flaky::is_of_step;
use domain::sentences::unreached;
use store::{Breakage, Write};

/// Counts them for the breakages whose search has ended since the last round.
pub async fn count_unreached(tx: &mut Write<'_>) -> store::Result<()> {
    for breakage in tx.uncounted_breakages().await? {
        let count = load_unreached(tx, &breakage).await?;
        tx.set_unreached(breakage.id, count).await?;
    }
    Ok(())
}

/// Compares the run whose message is quoted, or else the bad end, with the good end.
async fn load_unreached(tx: &mut Write<'_>, breakage: &Breakage) -> store::Result<usize> {
    let history = tx.history(breakage.builder).await?;
    let at = |change| history.iter().find(|build| build.change == change).map(|build| build.build);
    let shown = tx.quoted_message(breakage).await?.map(|quoted| quoted.build);
    let (Some(good), Some(bad)) = (at(breakage.good), shown.or_else(|| at(breakage.bad))) else {
        return Ok(0);
    };
    let (before, with) = (tx.build_verdicts(good).await?, tx.build_verdicts(bad).await?);
    let cases = unreached(&before.case_verdicts, &with.case_verdicts, with.complete, &breakage.cases);
    let names = tx.case_names(&cases).await?;
    Ok(names.iter().filter(|name| !is_of_step(name)).count())
}
