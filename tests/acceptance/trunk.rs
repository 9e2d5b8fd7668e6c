//! The trunk of the acceptance run: real CPython sources, one commit for each release, and between them commits that take one
//! real step of CPython's history each.
//!
//! A step is what CPython did, taken alone: the removals of 3.12 and 3.13, as differences against 3.11. Ids of commits are the same on
//! every machine, so a run that was interrupted finds its toolchains and results again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One change of the trunk.
pub struct Step {
    /// The word by which the table of expected breakages refers to it.
    pub name: &'static str,
    pub title: &'static str,
    edits: &'static [Edit],
}

impl Step {
    /// Whether it is a release of CPython, and not one step between two.
    pub fn is_release(&self) -> bool {
        matches!(self.edits, [Release(_)])
    }
}

enum Edit {
    /// Replaces the whole tree by a release.
    Release(&'static str),
    Remove(&'static [&'static str]),
    Move(&'static str, &'static str),
    Replace {
        file: &'static str,
        old: &'static str,
        new: &'static str,
    },
    /// Removes the lines from the first one that begins with `from` up to, and without, the next one that begins with `until`.
    Cut {
        file: &'static str,
        from: &'static str,
        until: &'static str,
    },
}

use Edit::{Cut, Move, Release, Remove, Replace};

/// The history, oldest first.
pub const STEPS: &[Step] = &[
    Step { name: "3.11", title: "Python 3.11.2", edits: &[Release("python3.11")] },
    Step {
        name: "imp",
        title: "gh-98040: Remove the imp module",
        edits: &[Remove(&["Lib/imp.py", "Lib/test/test_imp.py", "Doc/library/imp.rst"])],
    },
    Step {
        name: "smtpd",
        title: "gh-93243: Remove the smtpd module",
        edits: &[Remove(&["Lib/smtpd.py", "Lib/test/test_smtpd.py", "Doc/library/smtpd.rst"])],
    },
    Step {
        name: "asyncore",
        title: "gh-96580: Remove the asynchat and asyncore modules",
        edits: &[Remove(&[
            "Lib/asynchat.py",
            "Lib/asyncore.py",
            "Lib/test/test_asynchat.py",
            "Lib/test/test_asyncore.py",
            "Doc/library/asynchat.rst",
            "Doc/library/asyncore.rst",
        ])],
    },
    Step {
        name: "aliases",
        title: "gh-89325: Remove deprecated unittest.TestCase aliases",
        edits: &[Cut {
            file: "Lib/unittest/case.py",
            from: "    def _deprecate(original_func):",
            until: "class FunctionTestCase(",
        }],
    },
    Step {
        name: "configparser",
        title: "gh-89336: Remove configparser.SafeConfigParser and readfp",
        edits: &[
            Replace {
                file: "Lib/configparser.py",
                old: "\"ConfigParser\", \"SafeConfigParser\", \"RawConfigParser\",",
                new: "\"ConfigParser\", \"RawConfigParser\",",
            },
            Cut {
                file: "Lib/configparser.py",
                from: "    def readfp(self, fp, filename=None):",
                until: "    def get(self, section, option,",
            },
            Cut {
                file: "Lib/configparser.py",
                from: "class SafeConfigParser(ConfigParser):",
                until: "class SectionProxy(",
            },
        ],
    },
    Step {
        name: "impimporter",
        title: "gh-98040: Remove pkgutil.ImpImporter and ImpLoader",
        edits: &[
            Replace { file: "Lib/pkgutil.py", old: "    'ImpImporter', 'ImpLoader', ", new: "    " },
            Cut { file: "Lib/pkgutil.py", from: "def _import_imp():", until: "try:" },
        ],
    },
    Step {
        name: "distutils",
        title: "gh-92584: Remove the distutils package, and setuptools from ensurepip",
        edits: &[
            // Until 3.11 the interpreter's own extension modules are built with it.
            Move("Lib/distutils", "Tools/build-modules/distutils"),
            Replace {
                file: "setup.py",
                old: "with warnings.catch_warnings():\n    # bpo-41282",
                new: "sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'Tools', 'build-modules'))\n\
                      with warnings.catch_warnings():\n    # bpo-41282",
            },
            Remove(&[
                "Lib/test/test_distutils.py",
                "Lib/ensurepip/_bundled/setuptools-65.5.0-py3-none-any.whl",
            ]),
            Replace {
                file: "Lib/ensurepip/__init__.py",
                old: "_PACKAGE_NAMES = ('setuptools', 'pip')",
                new: "_PACKAGE_NAMES = ('pip',)",
            },
            Replace {
                file: "Lib/ensurepip/__init__.py",
                old: "    (\"setuptools\", _SETUPTOOLS_VERSION, \"py3\"),\n",
                new: "",
            },
        ],
    },
    Step {
        name: "telnetlib",
        title: "gh-104773: Remove the telnetlib module",
        edits: &[Remove(&["Lib/telnetlib.py", "Lib/test/test_telnetlib.py", "Doc/library/telnetlib.rst"])],
    },
    Step {
        name: "cgi",
        title: "gh-104773: Remove the cgi and cgitb modules",
        edits: &[Remove(&[
            "Lib/cgi.py",
            "Lib/cgitb.py",
            "Lib/test/test_cgi.py",
            "Lib/test/test_cgitb.py",
            "Doc/library/cgi.rst",
            "Doc/library/cgitb.rst",
        ])],
    },
    Step {
        name: "makesuite",
        title: "gh-104992: Remove unittest.makeSuite, findTestCases and getTestCaseNames",
        edits: &[
            Cut { file: "Lib/unittest/__init__.py", from: "__all__.extend(['getTestCaseNames'", until: "" },
            Cut { file: "Lib/unittest/__init__.py", from: "from .loader import makeSuite", until: "" },
            Cut { file: "Lib/unittest/loader.py", from: "def _makeLoader(", until: "#never" },
        ],
    },
    Step { name: "3.13", title: "Python 3.13.5", edits: &[Release("python3.13")] },
];

/// Creates the repository, unless it is there already. Returns the id of each step's commit, oldest first.
///
/// `sources` has a folder for each release.
pub fn create(sources: &Path, trunk: &Path) -> Result<Vec<String>> {
    let count = || -> Result<usize> { Ok(git(trunk, &["rev-list", "--count", "HEAD"])?.parse()?) };
    if trunk.join(".git").exists() && count().is_ok_and(|count| count == STEPS.len()) {
        return commits(trunk);
    }
    if trunk.exists() {
        fs::remove_dir_all(trunk).with_context(|| format!("removing {}", trunk.display()))?;
    }
    fs::create_dir_all(trunk)?;
    git(trunk, &["init", "-q", "-b", "main"])?;
    for (at, step) in STEPS.iter().enumerate() {
        for edit in step.edits {
            edit.apply(sources, trunk).with_context(|| format!("the change \"{}\"", step.title))?;
        }
        git(trunk, &["add", "-A", "-f"])?;
        let unchanged = git(trunk, &["status", "--porcelain"])?.is_empty();
        ensure!(!unchanged, "the change \"{}\" changes nothing", step.title);
        let date = format!("2026-01-{:02}T08:00:00Z", at + 1);
        let mut commit = git_command(trunk, &["commit", "-q", "-m", step.title]);
        run(commit.env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date))?;
    }
    commits(trunk)
}

fn commits(trunk: &Path) -> Result<Vec<String>> {
    let list = git(trunk, &["rev-list", "--reverse", "HEAD"])?;
    Ok(list.lines().map(str::to_string).collect())
}

impl Edit {
    fn apply(&self, sources: &Path, trunk: &Path) -> Result<()> {
        match self {
            Release(name) => {
                git(trunk, &["rm", "-r", "-q", "-f", "--ignore-unmatch", "."])?;
                run(Command::new("cp").arg("-a").arg(sources.join(name).join(".")).arg(trunk))?;
            }
            Remove(files) => {
                for file in *files {
                    fs::remove_file(trunk.join(file)).with_context(|| format!("removing {file}"))?;
                }
            }
            Move(from, to) => {
                let to = trunk.join(to);
                fs::create_dir_all(to.parent().context("below the trunk")?)?;
                fs::rename(trunk.join(from), to).with_context(|| format!("moving {from}"))?;
            }
            Replace { file, old, new } => rewrite(trunk.join(file), |text| {
                ensure!(text.matches(old).count() == 1, "{file} does not contain exactly one `{old}`");
                Ok(text.replace(old, new))
            })?,
            Cut { file, from, until } => rewrite(trunk.join(file), |text| cut(&text, from, until))?,
        }
        Ok(())
    }
}

/// An `until` that is empty removes one line; `#never` removes the rest of the file.
fn cut(text: &str, from: &str, until: &str) -> Result<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let find = |start: usize, prefix: &str| {
        lines.iter().skip(start).position(|line| line.starts_with(prefix)).map(|at| at + start)
    };
    let begin = find(0, from).with_context(|| format!("no line begins with `{from}`"))?;
    let end = match until {
        "" => begin + 1,
        "#never" => lines.len(),
        until => find(begin + 1, until).with_context(|| format!("no later line begins with `{until}`"))?,
    };
    Ok(lines[..begin].concat() + &lines[end..].concat())
}

fn rewrite(file: PathBuf, edit: impl Fn(String) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    fs::write(&file, edit(text)?)?;
    Ok(())
}

fn git_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(["-c", "user.name=CPython canaries", "-c", "user.email=cpython@example.org"])
        .args(["-c", "commit.gpgsign=false", "-c", "core.autocrlf=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    run(&mut git_command(folder, arguments))
}

/// Runs a command to its end. Returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
