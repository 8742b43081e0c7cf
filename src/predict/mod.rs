//! What a trial would come to: the same plan and the same policies, without a network.

pub mod agenda;
mod connection;
mod controller;
pub mod course;
mod network;
mod programs;
pub mod tcp;
mod watching;

#[cfg(test)]
mod held {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::path::Path;
    use std::rc::Rc;

    use super::course::{Born, Course};
    use crate::plan::Trial;
    use crate::trace::Births;

    fn items(dir: &Path, trial: &Trial, zero: i64) -> Vec<Rc<[Born]>> {
        trial
            .streams
            .iter()
            .map(|stream| {
                let path = dir.join(format!("births/{}.csv", stream.broadcaster));
                let births = Births::read(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
                let mut all: Vec<_> = births.frames.iter().chain(&births.others).collect();
                all.sort_by_key(|birth| birth.birth_ns);
                all.iter()
                    .map(|birth| Born {
                        bytes: birth.size.into(),
                        at: (birth.birth_ns - zero) as u64,
                        keyframe: birth.keyframe,
                        is_frame: birth.kind == livectl_wire::birth::BirthKind::Video,
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    #[ignore]
    fn held_against_stored_runs() {
        let runs = std::env::var("RUNS").unwrap();
        for run in runs.split_whitespace() {
            let manifest: serde_json::Value =
                serde_json::from_slice(&std::fs::read(format!("{run}/manifest.json")).unwrap()).unwrap();
            for record in manifest["trials"].as_array().unwrap() {
                let id = record["id"].as_str().unwrap();
                let dir = Path::new(run).join(id);
                let trial: Trial = serde_json::from_slice(&std::fs::read(dir.join("trial.json")).unwrap()).unwrap();
                let Some(zero) = record["zero_ns"].as_i64() else { continue };
                let births = items(&dir, &trial, zero);
                let began = std::time::Instant::now();
                let mut course = Course::new(&trial, &births).unwrap();
                course.run((trial.timeline.end + trial.timeline.drain).as_nanos() as u64);
                let took = began.elapsed();
                let summary = std::fs::read_to_string(dir.join("summary.csv")).unwrap();
                let mut lines = summary.lines();
                let names: Vec<&str> = lines.next().unwrap().split(',').collect();
                let column =
                    |line: &[&str], name: &str| line[names.iter().position(|n| *n == name).unwrap()].to_owned();
                println!(
                    "== {run} {id} fit {} took {took:?}",
                    column(&lines.clone().next().unwrap().split(',').collect::<Vec<_>>(), "fit")
                );
                let mut rows: Vec<(f64, String)> = Vec::new();
                for line in lines {
                    let line: Vec<&str> = line.split(',').collect();
                    let viewer = column(&line, "viewer");
                    let at = course
                        .viewers
                        .iter()
                        .find(|v| {
                            trial.network.hosts[v.host].name == viewer
                                && trial.streams[v.stream].name == column(&line, "stream")
                        })
                        .unwrap();
                    let items = &births[at.stream];
                    let mut delays: Vec<f64> = Vec::new();
                    let (mut missing, mut from_peer, mut all) = (0, 0u64, 0u64);
                    for (item, born) in items.iter().enumerate().filter(|(_, born)| {
                        born.is_frame
                            && at.stays.iter().any(|s| s.from <= born.at && s.end.is_none_or(|e| e.0 > born.at))
                    }) {
                        match at.arrivals[item] {
                            Some(arrived) => {
                                let time = arrived.at;
                                delays.push((time as f64 - born.at as f64) / 1e6);
                                all += 1;
                                from_peer += u64::from(match arrived.over {
                                    super::course::Over::Connection(over) => {
                                        course.connections[over].carrier == crate::plan::delivery::Carrier::Peer
                                    }
                                    _ => true,
                                });
                            }
                            None => missing += 1,
                        }
                    }
                    delays.sort_by(f64::total_cmp);
                    let q = |p: f64| {
                        delays
                            .get(((delays.len() as f64 * p) as usize).min(delays.len().saturating_sub(1)))
                            .copied()
                            .unwrap_or(f64::NAN)
                    };
                    let measured: f64 = column(&line, "delay_p50_ms").parse().unwrap_or(f64::NAN);
                    rows.push((measured, format!(
                        "{viewer:6} p50 {:9.1} {measured:9.1}  p95 {:9.1} {:>9.7} max {:9.1} {:>9.7}  missing {missing} {}  peer {:.3} {:.5}",
                        q(0.5), q(0.95), column(&line, "delay_p95_ms"), q(1.0), column(&line, "delay_max_ms"), column(&line, "missing"),
                        from_peer as f64 / all.max(1) as f64, column(&line, "peer_offload"),
                    )));
                }
                if std::env::var("FRAMES").is_ok() {
                    let frames = crate::table::read_frames(&dir.join("frames.parquet")).unwrap();
                    for frame in frames.iter().filter(|f| f.viewer == std::env::var("FRAMES").unwrap()) {
                        let at =
                            course.viewers.iter().find(|v| trial.network.hosts[v.host].name == frame.viewer).unwrap();
                        let items = &births[at.stream];
                        let item =
                            items.iter().enumerate().filter(|(_, i)| i.is_frame).nth(frame.index as usize).unwrap().0;
                        let predicted = at.arrivals[item].map(|a| (a.at as f64 - items[item].at as f64) / 1e6);
                        println!(
                            "F {} {} floor {:.2} predicted {:.2} measured {:.2} queue {:?}",
                            frame.index,
                            frame.size_bytes,
                            frame.floor_ms.unwrap_or(0.0),
                            predicted.unwrap_or(f64::NAN),
                            frame.delay_ms.unwrap_or(f64::NAN),
                            frame.queue_ms
                        );
                    }
                }
                if std::env::var("FACTS").is_ok() {
                    for v in course.viewers.iter().take(2) {
                        let f = v.facts;
                        let ms = |t: Option<u64>| t.map(|t| t as f64 / 1e6);
                        println!(
                            "began {:?} connected {:?} playing {:?} introduced {:?} reached {:?} first {:?}; first birth {:?}",
                            ms(f.began),
                            ms(f.connected),
                            ms(f.playing),
                            ms(f.introduced),
                            ms(f.reached),
                            ms(f.first_from_peer),
                            births[v.stream][0].at as f64 / 1e6
                        );
                    }
                    let rows = crate::table::read_summary(&dir.join("summary.csv")).unwrap();
                    let r = &rows[0];
                    println!(
                        "publish {:?} connect {:?} play {:?} introduction {:?} peer_connect {:?} handover {:?} gap {:?}",
                        r.publish_ms,
                        r.connect_ms,
                        r.play_ms,
                        r.introduction_ms,
                        r.peer_connect_ms,
                        r.handover_ms,
                        r.handover_gap_ms
                    );
                }
                rows.sort_by(|a, b| a.0.total_cmp(&b.0));
                let step = (rows.len() / 8).max(1);
                for (_, row) in rows.iter().step_by(step).chain(rows.last().filter(|_| step > 1)) {
                    println!("{row}");
                }
            }
        }
    }
}
