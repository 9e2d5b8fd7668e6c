//! A sample farm: Lua's releases and some small commits, one toolchain, eight projects. Each column is a picture,
//! oldest first.

pub mod breakages;
pub mod builds;
pub mod farm;

use super::waterfall::layout::lay_rails;
use super::waterfall::rails::BreakageRail;
use super::waterfall::{
    BranchLink, BuildCell, BuilderColumn, CellContent, Culprit, Row, StepBlock, StepState, SupersededSpan,
    WaterfallCell, WaterfallView,
};
use super::{BuildMark, BuilderLine, ChangeLine, Frame};
use crate::format::status_style::StatusStyle;
use crate::format::units::{Moment, Span};

/// 23 November 2026, 08:00 UTC.
pub const NOW: i64 = 1_795_420_800_000;

const TITLES: [&str; 26] = [
    "Lua 5.1.5",
    "Lua 5.2.4",
    "Lua 5.3.6",
    "Lua 5.4.8",
    "Lua 5.5.0",
    "Comment the registry in lapi.c",
    "Say the version in the banner",
    "Hash long strings by their ends",
    "Spell \"coroutine\" right in a comment",
    "Fold two table lookups into one",
    "Unroll the loop in luaV_concat",
    "Close the loop in luaV_concat",
    "Pick the pivot of table.sort by its middle",
    "Print -0.0 as the C library does",
    "string.rep: reuse the buffer",
    "Explain the write barrier",
    "Keep upvalues open for one instruction less",
    "Refuse a NUL in a module's name",
    "Shorten lua_checkstack",
    "Count collections in the debug build",
    "string.rep: size the buffer by its last part too",
    "Let os.date refuse years past 9999",
    "Warn of a goto into a block",
    "Make the parser's limits constants",
    "Spell out LUAI_MAXSHORTLEN",
    "Trust the cached length in luaO_pushvfstring, whose callers have all measured their arguments",
];

/// `+` passed, `X` new failure, `x` still failing, `F` passed and fixed, `.` superseded, `=` equal inputs, `B` broken,
/// `b` blocked, `~` flaky, `!` infra, `>` running, `q` queued.
const COLUMNS: [(&str, &str); 9] = [
    ("toolchain", "+++++=++=+BF+++=++++++++=>"),
    ("cbuffer", "++Xxx=..=xb..x.=..x...x.=q"),
    ("dice", "+++++=++=+b~+.+=+.+~+..+=q"),
    ("guarded", "+XxxF=...+b.+..=+.+...F.=q"),
    ("keywords", "++++X=..=xb.x..=....x..x=q"),
    ("numfmt", "++Xxx=..=xb.xXx=.xx..xxx=q"),
    ("sandbox", "+Xxxx=x.=xbxx.x=.xx.xx.x=q"),
    ("steady", "+++++=++=+b+++X=xxxxF+++=>"),
    ("tables", "+XxxF=..=+b.++X=..xxF!++=q"),
];

pub fn frame(here: &'static str, json: &str) -> Frame {
    Frame {
        farm: "Lua canaries".into(),
        problems: vec![],
        here,
        canonical: String::new(),
        json: json.into(),
        live: String::new(),
    }
}

pub fn change(position: usize) -> ChangeLine {
    let sha = format!(
        "{:016x}{:016x}{:08x}",
        (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63,
        position * 7 + 3,
        position
    );
    let author =
        if position < 5 { "Lua team" } else { ["Ada Lund", "Ben Okafor", "Chiyo Mori"][position % 3] };
    let committed_at = Moment(NOW - (26 - position as i64) * 4_200_000);
    ChangeLine { sha, title: TITLES[position].into(), author: author.into(), committed_at }
}

pub fn waterfall() -> WaterfallView {
    let ranges = [
        (1, Some(2), 2, None),
        (3, Some(1), 1, Some(4)),
        (6, Some(1), 1, None),
        (8, Some(1), 1, Some(4)),
        (5, Some(2), 2, None),
        (4, Some(3), 4, None),
        (7, Some(4), 14, Some(20)),
        (8, Some(4), 14, Some(20)),
        (0, Some(5), 10, Some(11)),
        (5, None, 13, None),
    ];
    let row_of = |position: usize| 25 - position;
    let ranges: Vec<BreakageRail> = ranges
        .into_iter()
        .enumerate()
        .map(|(n, (column, culprit, from, fixed))| BreakageRail {
            column,
            breakage: n as i64 + 1,
            culprit,
            from: Some(row_of(if culprit.is_none() { 11 } else { from })),
            bad: Some(row_of(from)),
            fixed: fixed.map(row_of),
        })
        .collect();
    let mut rows: Vec<Row> = (0..26).rev().map(row).collect();
    let lanes = lay_rails(&mut rows, COLUMNS.len(), &ranges);
    let mut day = String::new();
    for row in &mut rows {
        let own = row.change.committed_at.day();
        row.day = (own != day).then(|| own.clone());
        day = own;
    }
    let columns = COLUMNS.iter().zip(lanes).enumerate().map(|(n, ((name, picture), lanes))| BuilderColumn {
        builder: n as i64 + 1,
        name: (*name).into(),
        platform: "linux-x86_64".into(),
        variant: None,
        status_style: picture.chars().rev().find_map(standing).expect("each column has a finished build"),
        first_of_group: true,
        lanes,
    });
    WaterfallView {
        more_builders: 0,
        trunk: "lua".into(),
        branch: "master".into(),
        sentence: "3 changes of lua master break cbuffer, keywords, numfmt and 2 more today; 1 breakage is being searched.".into(),
        branches: vec![
            BranchLink { trunk: "lua".into(), branch: "master".into(), is_shown: true },
            BranchLink { trunk: "lua".into(), branch: "v5.4".into(), is_shown: false },
        ],
        culprits: vec![
            culprit(1, 1, "broke guarded, sandbox and tables (31 cases)", "sandbox is still broken", true),
            culprit(2, 2, "broke cbuffer and numfmt (6 cases)", "still broken", true),
            culprit(3, 4, "broke keywords (2 cases)", "still broken", true),
            culprit(4, 14, "broke steady and tables (5 cases)", "fixed by string.rep: size the buffer by its last part too", false),
            culprit(5, 10, "broke the toolchain", "fixed by the next change", false),
        ],
        columns: columns.collect(),
        rows,
        older: Some(4),
        newer: None,
    }
}

fn culprit(number: usize, position: usize, effect: &str, now: &str, is_open: bool) -> Culprit {
    Culprit {
        number,
        change: change(position),
        effect: effect.into(),
        now: now.into(),
        is_open,
        marks: Vec::new(),
    }
}

fn row(position: usize) -> Row {
    let culprit =
        [(1, 1), (2, 2), (4, 3), (14, 4), (10, 5)].iter().find(|(at, _)| *at == position).map(|(_, n)| *n);
    let cells = (0..COLUMNS.len()).map(|column| cell(column, position)).collect();
    Row {
        day: None,
        position: position as i64 + 1,
        change: change(position),
        toolchain_inputs: vec![],
        culprit,
        reach: None,
        cells,
    }
}

fn standing(letter: char) -> Option<StatusStyle> {
    match letter {
        '+' | 'F' => Some(StatusStyle::Passed),
        'X' | 'x' => Some(StatusStyle::Still),
        _ => None,
    }
}

fn cell(column: usize, position: usize) -> WaterfallCell {
    let letters: Vec<char> = COLUMNS[column].1.chars().collect();
    let build = (column * 100 + position) as i64;
    let bad = 1 + (column as i64 * 3 + 2) % 7;
    let good = 12 + column as i64 * 9;
    let duration = Span(300 + (column as i64 * 7919 + position as i64 * 337) % 9000);
    let toolchain = column == 0;
    let built = |status_style, count, label: &str, steps: &str| {
        let done = !matches!(status_style, StatusStyle::Queued | StatusStyle::Running | StatusStyle::Blocked);
        let names = if toolchain { ["compile", "install", "smoke"] } else { ["fetch", "build", "test"] };
        let blocks = steps.chars().zip(names).enumerate().map(|(n, (letter, name))| StepBlock {
            name: name.into(),
            state: match letter {
                'o' => StepState::Ok,
                'x' => StepState::Bad,
                'n' => StepState::Now,
                _ => StepState::Later,
            },
            duration_ms: matches!(letter, 'o' | 'x').then(|| Span(duration.0 * (n as i64 + 1) / 4)),
        });
        let duration_ms = done.then_some(duration);
        CellContent::Build(BuildCell {
            build,
            status_style,
            count,
            label: label.into(),
            duration_ms,
            steps: blocks.collect(),
        })
    };
    let passes = (!toolchain).then_some(good);
    let content = match letters[position] {
        '+' => built(StatusStyle::Passed, passes, "", "ooo"),
        'F' => built(StatusStyle::Passed, passes, "fixed", "ooo"),
        'X' => built(StatusStyle::New, Some(bad), "new", "oox"),
        'x' => built(StatusStyle::Still, Some(bad), "", "oox"),
        'B' => built(StatusStyle::Broken, None, "compile", "x--"),
        'b' => built(StatusStyle::Blocked, None, "blocked", ""),
        '~' => built(StatusStyle::Flaky, Some(1), "flaky", "oox"),
        '!' => built(StatusStyle::Infra, None, "worker-lost", "on-"),
        '>' => built(StatusStyle::Running, None, "test", "oon"),
        'q' => built(StatusStyle::Queued, None, "queued", ""),
        '=' => CellContent::Same {
            build: build - 1,
            status_style: if "xX".contains(letters[position - 1]) {
                StatusStyle::Still
            } else {
                StatusStyle::Passed
            },
            change: change(position - 1).sha[..7].into(),
        },
        _ => {
            let superseded = |at: usize| letters.get(at) == Some(&'.');
            let bracket = match (superseded(position + 1), superseded(position - 1)) {
                (false, false) => SupersededSpan::Only,
                (false, true) => SupersededSpan::First,
                (true, true) => SupersededSpan::Within,
                (true, false) => SupersededSpan::Last,
            };
            CellContent::Superseded { bracket }
        }
    };
    let evidence: &[StatusStyle] = match (column, position) {
        (7, 14) => &[StatusStyle::New, StatusStyle::New],
        (7, 13) => &[StatusStyle::Passed, StatusStyle::Passed],
        (5, 13) => &[StatusStyle::Still],
        (5, 12) => &[StatusStyle::Running],
        (2, 19) => &[StatusStyle::Passed, StatusStyle::Flaky, StatusStyle::Passed],
        _ => &[],
    };
    let evidence = evidence.iter().enumerate().map(|(n, status_style)| BuildMark {
        build: build + 1000 + n as i64,
        status_style: *status_style,
        hint: format!("probe: {status_style}"),
    });
    WaterfallCell { content, evidence: evidence.collect(), rails: vec![] }
}

pub fn builder(column: usize) -> BuilderLine {
    BuilderLine {
        id: column as i64 + 1,
        name: COLUMNS[column].0.into(),
        trunk: "lua".into(),
        branch: "master".into(),
        platform: "linux-x86_64".into(),
        variant: None,
    }
}

fn mark(build: i64, status_style: StatusStyle, hint: &str) -> BuildMark {
    BuildMark { build, status_style, hint: hint.into() }
}
