#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::plan::delivery::Via;
use crate::plan::{Plan, Point, Scheme, Trial};
use crate::store::{CommandRecord, Manifest, Owner, Phase, RecipeRecord, RunDir, Software, TrialRecord, TrialState};
use crate::table::tests::{frame, ping_row, record, trial};
use crate::table::{self, FrameRow, PlayoutRow, SummaryRow, ViewerFacts, summarise};

/// What must not become markup, in any place.
const HOSTILE: &str =
    "<script>alert(1)</script><img src=x onerror=alert(2)> ]]> --> \" ' & &amp; \u{1b}[31m </title></style>";

/// A run of two trials, each with one viewer, with all its tables.
fn stored(folder: &Path, change: impl FnOnce(&mut Manifest)) -> RunDir {
    let run = without_tables(folder, change);
    let manifest = Manifest::load(&run).unwrap();
    let (frames, summary, playouts) = rows(&manifest);
    table::write_frames(&run.frames(), &frames).unwrap();
    table::write_summary(&run.summary(), &summary).unwrap();
    table::write_playouts(&run.playouts(), &playouts).unwrap();
    let audience = |trial: &crate::plan::Trial| {
        let of = |id: &String| *id == trial.id;
        let summary: Vec<_> = summary.iter().filter(|row| of(&row.trial)).cloned().collect();
        let frames: Vec<_> = frames.iter().filter(|row| of(&row.trial)).cloned().collect();
        // A run that was cut short has records of fewer trials than it planned.
        let rows = |record| table::audiences(record, trial, &[], &summary, &frames);
        manifest.trial(&trial.id).map(rows).unwrap_or_default()
    };
    let audience: Vec<_> = manifest.plan.trials.iter().flat_map(audience).collect();
    table::write_audience(&run.audience(), &audience).unwrap();
    let pings: Vec<_> = (1..20).map(|seq| ping_row("bypass-1", "hb", "hv1", seq, Some(400.0))).collect();
    table::write_pings(&run.pings(), &pings).unwrap();
    run
}

fn without_tables(folder: &Path, change: impl FnOnce(&mut Manifest)) -> RunDir {
    let now = "2026-11-22T23:17:00Z".parse().unwrap();
    let run = RunDir::create(folder, "p2p", now, Owner::Process).unwrap();
    let trials = vec![trial("direct-1", &["hv1"]), trial("bypass-1", &["hv1"])];
    let plan = Plan { recipe: "p2p".into(), description: "Two hops.".into(), seed: 1, trials };
    let recipe = RecipeRecord { name: "p2p".into(), path: None, text: "video:\n  fps: 30\n".into() };
    let livectl = Software { version: "0.1.0".into(), commit: Some("0123456789abcdef".into()) };
    let mut manifest = Manifest::new(&run, recipe, plan, 1, livectl, now);
    manifest.trials.iter_mut().for_each(|t| {
        t.state = TrialState::Done;
        t.phases = vec![Phase { name: "analyse".into(), seconds: 0.5 }];
    });
    change(&mut manifest);
    manifest.save(&run).unwrap();
    run
}

fn rows(manifest: &Manifest) -> (Vec<FrameRow>, Vec<SummaryRow>, Vec<PlayoutRow>) {
    let (mut frames, mut summary, mut playouts) = (Vec::new(), Vec::new(), Vec::new());
    for trial in &manifest.trials {
        let delay = if trial.id.starts_with("direct") { 900.0 } else { 250.0 };
        let facts = ViewerFacts {
            stream: "hb".into(),
            viewer: "hv1".into(),
            born: 30,
            captured: true,
            ..ViewerFacts::default()
        };
        let mine: Vec<_> = (0..30)
            .map(|i| FrameRow {
                point: trial.point.clone(),
                ..frame(&trial.id, "hv1", i, (i != 3).then_some(delay), Via::Cdn)
            })
            .collect();
        summary.extend(summarise(trial, std::slice::from_ref(&facts), &mine));
        playouts.extend(table::playouts(trial, &[facts], &mine));
        frames.extend(mine);
    }
    (frames, summary, playouts)
}

fn html(run: &RunDir) -> String {
    page(&[run.path().to_owned()]).unwrap().html
}

/// The page's text without the parts that are this program's own.
fn without_own(html: &str) -> String {
    let own = [include_str!("page.css"), include_str!("page.js")];
    own.iter().fold(html.to_owned(), |html, own| {
        assert!(html.contains(own), "style and script go in as they are, or their hashes are wrong");
        html.replace(own, "")
    })
}

/// Each tag's name and attributes, in order; panics on what a strict reader would not take.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let tag =
        regex_lite::Regex::new(r#"<(/?[a-zA-Z!][a-zA-Z0-9]*)((?:\s+[a-zA-Z:-]+(?:="[^"<>]*")?)*)\s*(/?)>"#).unwrap();
    let attribute = regex_lite::Regex::new(r#"([a-zA-Z:-]+)(?:="([^"]*)")?"#).unwrap();
    let mut tags = Vec::new();
    let mut end = 0;
    for found in tag.captures_iter(html) {
        let whole = found.get(0).unwrap();
        let between = &html[end..whole.start()];
        assert!(!between.contains(['<', '>']), "a bracket that is no tag: {between:?}");
        end = whole.end();
        let attributes = attribute
            .captures_iter(&found[2])
            .map(|a| (a[1].to_owned(), a.get(2).map_or(String::new(), |v| v.as_str().to_owned())))
            .collect();
        let name = if found[3].is_empty() { found[1].to_owned() } else { format!("{}/", &found[1]) };
        tags.push((name, attributes));
    }
    assert!(!html[end..].contains(['<', '>']), "the rest: {:?}", &html[end..]);
    tags
}

/// Elements are closed in the order in which they were opened, ids are unique, and what refers to one finds it.
fn assert_sound(html: &str) {
    let html = without_own(html);
    let (mut open, mut ids, mut referred) = (Vec::new(), std::collections::BTreeSet::new(), Vec::new());
    for (name, attributes) in tags(&html) {
        for (key, value) in attributes {
            match key.as_str() {
                "id" => assert!(ids.insert(value.clone()), "two elements have the id {value}"),
                "aria-labelledby" => referred.push(value),
                "href" => referred.push(value.strip_prefix('#').expect("a link that leaves the page").to_owned()),
                "src" => assert!(value.starts_with("data:image/png;base64,"), "{value}"),
                "xmlns" | "style" | "action" | "srcset" | "background" | "poster" => panic!("{key}={value}"),
                _ => assert!(!key.starts_with("on"), "{key}={value}"),
            }
        }
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed), "closed out of order"),
            None if name.ends_with('/') || ["!DOCTYPE", "meta", "img", "br"].contains(&name.as_str()) => {}
            None => {
                let known = "html head title style script body a header p h1 h2 h3 h4 nav ul li main section div span strong code pre svg rect circle \
                    polygon polyline text figure figcaption table caption thead tbody tr th td dl dt dd details summary ol footer";
                assert!(known.split_whitespace().any(|k| k == name), "an element that nobody meant: {name}");
                open.push(name);
            }
        }
    }
    assert_eq!(open, Vec::<String>::new());
    for id in referred {
        assert!(ids.contains(&id), "there is no {id}");
    }
}

#[test]
fn a_page_says_what_was_run_and_answers_first() {
    let folder = tempfile::tempdir().unwrap();
    let html = html(&stored(folder.path(), |_| {}));
    assert_sound(&html);
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"));
    let places: Vec<usize> = [
        "recipe p2p · run 20261122T231700Z · 2026-11-22 23:17:00 UTC · schemes direct, bypass · 2 trials",
        "<strong>direct, hv1</strong>: delay p50 900.0 ms, floor 230.0 ms; excess p50 670.0 ms, p95 670.0 ms; 1 of 30 frames missing",
        "<strong>bypass, hv1</strong>: delay p50 250.0 ms, floor 230.0 ms; excess p50 20.0 ms",
        "role=\"img\" aria-labelledby=\"run-1-frame-delay-plot-title\"",
        "role=\"img\" aria-labelledby=\"run-1-cdf-plot-title\"",
        "role=\"img\" aria-labelledby=\"run-1-parts-plot-title\"",
        "Delays, a line for each trial and viewer",
        "Playout: how the stream would have played",
        "Estimates over repetitions",
        "  fps: 30",
    ]
    .iter()
    .map(|part| html.find(part).unwrap_or_else(|| panic!("{part} is not there")))
    .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(!html.contains("class=\"warning\""));
}

#[test]
fn nothing_is_loaded_and_only_the_own_script_may_run() {
    let folder = tempfile::tempdir().unwrap();
    let html = html(&stored(folder.path(), |_| {}));
    let policy = html.split_once("Content-Security-Policy\" content=\"").unwrap().1.split_once('"').unwrap().0;
    let policy = policy.replace("&#x27;", "'").replace("&#x2f;", "/");
    let rules: Vec<&str> = policy.split("; ").collect();
    assert_eq!(rules[0], "default-src 'none'");
    assert!(rules[1].starts_with("script-src 'sha256-") && rules[2].starts_with("style-src 'sha256-"), "{policy}");
    assert_eq!(rules[3..], ["img-src data:", "base-uri 'none'", "form-action 'none'"]);
    for loads in ["http:", "https:", "url(", "@import", "<link", "<iframe", "fetch(", "import(", "XMLHttpRequest"] {
        assert!(!html.contains(loads), "{loads}");
    }
    // A reference without a scheme.
    assert!(!html.contains("=\"//") && !html.contains("='//"));
}

#[test]
fn what_comes_from_files_stays_text() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |manifest| {
        manifest.recipe.name = HOSTILE.into();
        manifest.recipe.text = format!("# {HOSTILE}\n");
        manifest.recipe.path = Some(HOSTILE.into());
        manifest.plan.description = HOSTILE.into();
        manifest.run = HOSTILE.into();
        manifest.command = vec!["livectl".into(), HOSTILE.into()];
        manifest.machine.kernel = HOSTILE.into();
        manifest.livectl.version = HOSTILE.into();
        manifest.tools.insert(HOSTILE.into(), HOSTILE.into());
        let trial = &mut manifest.trials[0];
        trial.unfit = vec![HOSTILE.into()];
        trial.phases = vec![Phase { name: HOSTILE.into(), seconds: 1.0 }];
        trial.fitness = serde_json::json!({HOSTILE: HOSTILE});
        trial.commands = vec![CommandRecord {
            host: Some(HOSTILE.into()),
            actor: HOSTILE.into(),
            argv: vec![HOSTILE.into()],
            exit_code: None,
            signal: Some(9),
        }];
    });
    fs::write(run.path().join("<b>&\"'.txt"), "").unwrap();
    let mut frames = table::read_frames(&run.frames()).unwrap();
    let mut summary = table::read_summary(&run.summary()).unwrap();
    frames.iter_mut().for_each(|row| row.viewer = HOSTILE.into());
    summary.iter_mut().for_each(|row| (row.viewer, row.note) = (HOSTILE.into(), table::Note(HOSTILE.into())));
    table::write_frames(&run.frames(), &frames).unwrap();
    table::write_summary(&run.summary(), &summary).unwrap();
    let html = html(&run);
    assert_sound(&html);
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"));
    assert!(html.contains("]]&gt; --&gt; &quot; &#x27; &amp; &amp;amp;"));
    assert!(html.contains("&lt;b&gt;&amp;&quot;&#x27;.txt"));
    assert!(
        !html.contains('\u{1b}') && html.contains('\u{fffd}'),
        "control characters are shown as what they are not"
    );
}

#[test]
fn doubtful_trials_are_named_above_their_figures_and_left_out_of_the_estimates() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |manifest| {
        manifest.trials[0].unfit = vec!["CPU pressure 31 % (limit 10 %)".into()];
        manifest.trials[1].state = TrialState::Failed { why: "nginx died".into() };
    });
    let html = html(&run);
    assert_sound(&html);
    let warned = html.find("direct-1 UNFIT: CPU pressure 31 % (limit 10 %)").unwrap();
    assert!(html.contains("bypass-1 FAILED: nginx died") && html.contains("their figures are not in the estimates"));
    assert!(warned < html.find("<ul class=\"answers\">").unwrap());
    assert!(html.contains("from 1 UNFIT trial only"));
    assert!(html.contains("no figures: none of 1 trial is whole"));
    assert!(
        !html.contains(">Estimates over repetitions, whole"),
        "no trial is sound, so that there is nothing to estimate"
    );
}

#[test]
fn a_run_cut_short_shows_what_it_has_and_names_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let run = without_tables(folder.path(), |manifest| {
        manifest.trials[0].state = TrialState::Running;
        manifest.trials[1].state = TrialState::Planned;
        manifest.trials.iter_mut().for_each(|t| t.phases.clear());
    });
    let shown = page(&[run.path().to_owned()]).unwrap();
    assert_sound(&shown.html);
    assert!(!shown.damaged, "it never came to its tables: {:?}", shown.problems);
    assert_eq!(shown.problems.len(), 5, "{:?}", shown.problems);
    for told in [
        "the run has no summary.csv",
        "1 of 2 trials were never run",
        "direct-1 PARTIAL: it never ended",
        "no figures of this run",
    ] {
        assert!(shown.html.contains(told), "{told}");
    }
}

#[test]
fn a_damaged_table_is_named_and_the_rest_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |_| {});
    fs::write(run.frames(), "rubbish").unwrap();
    let shown = page(&[run.path().to_owned()]).unwrap();
    assert_sound(&shown.html);
    assert!(shown.damaged && shown.problems[0].contains("frames.parquet"), "{:?}", shown.problems);
    assert!(shown.html.contains("Not all data is there") && shown.html.contains("Delays, a line for each trial"));
    fs::remove_file(run.frames()).unwrap();
    assert!(
        page(&[run.path().to_owned()]).unwrap().damaged,
        "its trials were analysed, so that the table was there once"
    );
}

#[test]
fn several_runs_have_an_overview_and_a_section_each() {
    let folder = tempfile::tempdir().unwrap();
    let one = stored(folder.path(), |_| {});
    let two = stored(folder.path(), |m| m.trials[0].unfit = vec!["CPU pressure".into()]);
    fs::create_dir(folder.path().join("p2p/broken")).unwrap();
    fs::write(folder.path().join("p2p/broken/manifest.json"), "{").unwrap();
    let runs = find(&[folder.path().to_owned()]).unwrap();
    assert_eq!(runs.len(), 3);
    let shown = page(&runs).unwrap();
    assert_sound(&shown.html);
    assert!(
        shown.html.contains("id=\"run-2-delays\"")
            && shown.html.contains("id=\"all-runs\"")
            && shown.html.contains("id=\"all-answers\"")
    );
    assert!(
        shown.html.contains("2 runs of p2p")
            && shown.html.contains("href=\"#run-2\"")
            && shown.html.contains(">1 unfit<")
    );
    assert!(shown.damaged && shown.html.contains("Runs that cannot be read"), "{:?}", shown.problems);
    for run in [one, two] {
        let folder = run.path().display().to_string().replace('/', "&#x2f;");
        assert!(shown.html.contains(&format!("<code>{folder}</code>: ")), "{folder}");
    }
    let broken = folder.path().join("p2p/broken");
    assert!(matches!(page(std::slice::from_ref(&broken)), Err(ReportError::Store(StoreError::Manifest { .. }))));
    assert!(matches!(page(&[broken.clone(), broken]), Err(ReportError::NothingReadable { .. })));
}

#[test]
fn a_page_of_a_thousand_trials_stays_small_and_says_where_the_rest_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |manifest| {
        let command = CommandRecord {
            host: None,
            actor: "mn".into(),
            argv: vec!["x".repeat(2000)],
            exit_code: Some(0),
            signal: None,
        };
        manifest.trials = (1..=1500)
            .map(|n| {
                let mut trial = record(&format!("direct-{n}"));
                trial.unfit = vec!["CPU pressure".into()];
                trial.commands = vec![command.clone(); 10];
                trial
            })
            .collect();
    });
    let html = html(&run);
    assert_sound(&html);
    assert!(html.len() < 12 << 20, "{} bytes", html.len());
    assert!(html.contains("The first 2000 of 6000 rows; all of them are in") && html.contains("playout.csv."));
    assert!(html.contains("1380 more trials; phases, commands") && html.contains("And 1400 more;"));
    assert!(
        html.contains("data:image&#x2f;png;base64,") || html.contains("data:image/png;base64,"),
        "45,000 points are pixels"
    );
    let room = |runs| Room::for_runs(runs).rows * runs.min(Room::for_runs(runs).sections);
    assert!(room(1000) <= 3000 && room(30) <= 2000);
}

#[test]
fn pictures_stop_where_the_page_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored::Stored::open(stored(folder.path(), |_| {}).path()).unwrap();
    let mut room = 1 << 20;
    let (figures, left_out) = picture::figures(&run, "run-1", &table::Effects::default(), &mut room);
    assert!(!figures.is_empty() && room < 1 << 20, "{left_out:?}");
    let mut none = 10;
    let (figures, left_out) = picture::figures(&run, "run-1", &table::Effects::default(), &mut none);
    assert!(figures.is_empty() && left_out.last().unwrap().contains("livectl report"), "{left_out:?}");
    assert_eq!(none, 10);
}

/// The relative luminance of `#rgb` or `#rrggbb` (WCAG 2.1).
fn luminance(colour: &str) -> f64 {
    let digits = colour.trim_start_matches('#');
    let wide: String =
        if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.to_owned() };
    let linear = |at: usize| {
        let value = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(0) + 0.7152 * linear(2) + 0.0722 * linear(4)
}

#[test]
fn text_stands_out_on_paper_in_the_dark_and_in_print() {
    let value = regex_lite::Regex::new(r"--([a-z-]+): (#[0-9a-f]+);").unwrap();
    let themes: Vec<&str> =
        include_str!("page.css").split(":root {").skip(1).map(|t| t.split_once('}').unwrap().0).collect();
    assert_eq!(themes.len(), 3);
    for theme in themes {
        let colours: std::collections::BTreeMap<&str, &str> =
            value.captures_iter(theme).map(|c| (c.get(1).unwrap().as_str(), c.get(2).unwrap().as_str())).collect();
        let contrast = |a: &str, b: &str| {
            let (a, b) = (luminance(colours[a]), luminance(colours[b]));
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        for text in ["ink", "soft", "link", "warn"] {
            for ground in ["paper", "box", "head", "warn-box"] {
                assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {:.2}", contrast(text, ground));
            }
        }
        for bar in ["floor", "direct", "bypass", "relay"] {
            assert!(contrast(bar, "box") >= 3.0, "{bar}: {:.2}", contrast(bar, "box"));
        }
    }
}

/// Chromium, if there is one.
fn chromium() -> Option<&'static str> {
    let runs = |name: &&str| {
        std::process::Command::new(name).arg("--version").output().is_ok_and(|said| said.status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs)
}

/// What the page is once its scripts have run.
fn loaded(browser: &str, file: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let said = std::process::Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn in_a_browser_tables_sort_by_a_click() {
    let Some(browser) = chromium() else {
        // Past the harness, which keeps what passing tests print to itself.
        let told =
            "SKIPPED in_a_browser_tables_sort_by_a_click: no Chromium here; `apt-get install chromium` lets it run";
        writeln!(std::io::stderr(), "{told}").unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |_| {});
    let mut summary = table::read_summary(&run.summary()).unwrap();
    let with = |trial: &str, delay: Option<f64>| SummaryRow {
        trial: trial.into(),
        delay_p50_ms: delay,
        ..summary[0].clone()
    };
    let rows = [
        with("direct-10", Some(90.04)),
        with("direct-2", None),
        with("direct-1", Some(100.0)),
        with("direct-3", Some(90.01)),
    ];
    summary = rows.to_vec();
    table::write_summary(&run.summary(), &summary).unwrap();
    let html = html(&run);
    let file = folder.path().join("report.html");
    fs::write(&file, &html).unwrap();
    let dom = loaded(browser, &file);
    assert!(dom.contains("<button type=\"button\">trial</button>"), "the page's own policy lets its script run");
    // The rest is done to a copy whose policy heeds one more script.
    let policy = html.split_once("<meta http-equiv=").unwrap().1.split_once('>').unwrap().0;
    let script = "<script>
        const heads = [...document.querySelector('#run-1-delays').parentElement.tHead.rows[0].cells];
        const head = (name) => heads.find((head) => head.textContent.startsWith(name));
        const told = [];
        const click = (name) => {
            head(name).querySelector('button').click();
            const rows = [...head(name).closest('table').tBodies[0].rows];
            told.push(name + ' ' + head(name).getAttribute('aria-sort') + ': ' + rows.map((row) => row.cells[0].textContent).join(' '));
        };
        ['trial', 'trial', 'trial', 'delay p50', 'delay p50'].forEach(click);
        document.body.append(JSON.stringify(told));
    </script></body>";
    let copy = html.replace(&format!("<meta http-equiv={policy}>"), "").replace("</body>", script);
    fs::write(&file, copy).unwrap();
    let dom = loaded(browser, &file);
    let told: Vec<String> =
        serde_json::from_str(&format!("[{}]", dom.rsplit_once('[').unwrap().1.split_once(']').unwrap().0)).unwrap();
    assert_eq!(
        told,
        [
            "trial ascending: direct-1 direct-2 direct-3 direct-10",
            "trial descending: direct-10 direct-3 direct-2 direct-1",
            "trial null: direct-10 direct-2 direct-1 direct-3",
            "delay p50 ascending: direct-3 direct-10 direct-1 direct-2",
            "delay p50 descending: direct-1 direct-10 direct-3 direct-2",
        ]
    );
}

/// A run of two trials with that many viewers: through the CDN in 900 ms, from peers in 100 ms and 10 ms more for
/// each viewer.
fn crowd(folder: &Path, viewers: u32) -> RunDir {
    let names: Vec<String> = (1..=viewers).map(|n| format!("hv{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = without_tables(folder, |manifest| {
        manifest.plan.trials = vec![trial("direct-1", &names), trial("bypass-1", &names)];
    });
    let manifest = Manifest::load(&run).unwrap();
    let (mut frames, mut summary) = (Vec::new(), Vec::new());
    for record in &manifest.trials {
        for (place, viewer) in (0..).zip(&names) {
            let (delay, via) = match record.id.as_str() {
                "direct-1" => (900.0, Via::Cdn),
                _ => (100.0 + 10.0 * f64::from(place), Via::Peer),
            };
            let mine: Vec<_> = (0..30).map(|i| frame(&record.id, viewer, i, Some(delay), via)).collect();
            let bytes = |of| Some(if via == of { 300_000 } else { 0 });
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: (*viewer).into(),
                born: 30,
                captured: true,
                cdn_bytes: bytes(Via::Cdn),
                peer_bytes: bytes(Via::Peer),
                viewer_bytes: Some(0),
                ..ViewerFacts::default()
            };
            summary.extend(summarise(record, &[facts], &mine));
            frames.extend(mine);
        }
    }
    table::write_frames(&run.frames(), &frames).unwrap();
    table::write_summary(&run.summary(), &summary).unwrap();
    run
}

#[test]
fn an_audience_is_told_to_those_who_know_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let four = crowd(folder.path(), 4);
    let html = html(&four);
    assert_sound(&html);
    for said in [
        "The audience</h3>",
        "Of 4 viewers of hb the best has half of the frames within 100.0 ms, the median one within 115.0 ms, the worst within 130.0 ms",
        "all but the CDN 100.0 %",
        "The bound is the earliest moment at which the last viewer can have a frame",
        "It leaves out frames that queue behind each other",
        "The audience, a line for each trial and stream",
        "run-1-audience-plot",
        "run-1-offload-plot",
        "run-1-tree-plot-bypass-1",
        "run-1-servers-plot-bypass-1",
        "the run has no audience.csv",
    ] {
        assert!(html.contains(said), "{said}");
    }
    assert!(!html.contains("tree-plot-direct-1") && !html.contains("all-audience"));
    let one = crowd(folder.path(), 1);
    let both = page(&[four.path().to_owned(), one.path().to_owned()]).unwrap().html;
    assert_sound(&both);
    assert!(both.contains("The audience: every run, by its number of viewers") && both.contains("all-audience-plot"));
    let alone = page(&[one.path().to_owned()]).unwrap().html;
    assert!(!alone.contains("The audience</h3>") && !alone.contains("tree-plot"), "one viewer is no audience");
}

/// A sweep over two parameters of which one adds 100 ms, run three times.
fn swept(folder: &Path) -> RunDir {
    let mut plans = Vec::new();
    for repetition in 1..=3 {
        for (delay, loss) in [("5 ms", "0 %"), ("5 ms", "2 %"), ("25 ms", "0 %"), ("25 ms", "2 %")] {
            let values = [("delay", delay), ("loss", loss)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            let parameters = std::collections::BTreeMap::from(values).into();
            let point = Point { parameters, ..Point::new(Scheme::Bypass, repetition) };
            plans.push(Trial { id: point.id(), point, ..trial("bypass-1", &["hv1"]) });
        }
    }
    let run = without_tables(folder, |manifest| {
        manifest.trials = plans.iter().map(TrialRecord::planned).collect();
        manifest.trials.iter_mut().for_each(|trial| trial.state = TrialState::Done);
        manifest.plan.trials = plans;
    });
    let manifest = Manifest::load(&run).unwrap();
    let (mut frames, mut summary, _) = rows(&manifest);
    for row in &mut frames {
        let slow = row.point.parameters.get("delay") == Some("25 ms");
        let luck =
            f64::from(row.point.repetition) + if row.point.parameters.get("loss") == Some("2 %") { 0.5 } else { 0.0 };
        row.delay_ms = row.delay_ms.map(|ms| ms + luck + if slow { 100.0 } else { 0.0 });
        row.excess_ms = row.delay_ms.map(|ms| ms - 230.0);
    }
    for row in &mut summary {
        let mine: Vec<f64> =
            frames.iter().filter(|frame| frame.trial == row.trial).filter_map(|frame| frame.excess_ms).collect();
        row.excess_p50_ms = table::quantile(&mine, 0.5);
        row.excess_p95_ms = table::quantile(&mine, 0.95);
    }
    table::write_frames(&run.frames(), &frames).unwrap();
    table::write_summary(&run.summary(), &summary).unwrap();
    run
}

#[test]
fn the_page_of_a_sweep_begins_with_what_its_parameters_do() {
    let folder = tempfile::tempdir().unwrap();
    let run = swept(folder.path());
    let answers = page(&[run.path().to_owned()]).unwrap().answers;
    assert!(
        answers[0].starts_with("p2p, what moves the excess, from 12 trials:\n  delay 25 ms instead"),
        "{answers:?}"
    );
    let html = html(&run);
    assert_sound(&html);
    let places: Vec<usize> = [
        ">What moves the excess</h3>",
        "from 12 trials",
        "delay 25 ms instead of 5 ms adds 100.0 ms (100.0 to 100.0) to the p95",
        "loss 2 % instead of 0 % adds 0.5 ms",
        "In short",
        "<strong>bypass, hv1, delay 25 ms, loss 0 %</strong>",
        "What the parameters do to the excess",
    ]
    .iter()
    .map(|part| html.find(part).unwrap_or_else(|| panic!("{part} is not there")))
    .collect();
    assert!(places.is_sorted(), "{places:?}");
    let plain = tempfile::tempdir().unwrap();
    let html = super::tests::html(&stored(plain.path(), |_| {}));
    assert!(!html.contains("What moves the excess") && !html.contains(">parameters</th>"), "there are none");
}
