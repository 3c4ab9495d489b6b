//! What a process and its children cost, as the kernel counts it.

/// CPU seconds of a process and its children, by the scheduler's own count: `stat` rounds to ticks of 10 ms.
pub fn cpu(root: u32) -> f64 {
    let threads = tree(root).into_iter().flat_map(|pid| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.map(|thread| thread.path().join("schedstat")).collect::<Vec<_>>()
    });
    let nanoseconds = threads
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.sum::<f64>() / 1e9
}

/// Proportional memory of a process and its children, bytes.
pub fn memory(root: u32) -> f64 {
    tree(root)
        .iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with("Pss:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb * 1024.0)
        })
        .sum()
}

fn tree(root: u32) -> Vec<u32> {
    let mut pids = vec![root];
    let mut index = 0;
    while let Some(pid) = pids.get(index) {
        let children = std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.extend(children);
        index += 1;
    }
    pids
}

/// Memory of its own that a process holds, bytes: without the pages of its program, which come and go with the cache.
pub fn anonymous(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the process runs");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number of kB") * 1024.0
}
