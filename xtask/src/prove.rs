//! `cargo xtask prove`: the proofs in their long form, in release builds. The same tests run short in `xtask test`; a
//! variable says how long here.

use crate::steps::{self, Step, call, command, is_installed, printed};
use crate::{Outcome, only};

struct Proof {
    name: &'static str,
    package: &'static str,
    /// The part of the tests' names that selects them.
    tests: &'static str,
    variable: (&'static str, &'static str),
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "mutations",
        package: "deputize-jose",
        tests: "mutation",
        variable: ("DEPUTIZE_MUTATIONS", "10000000"),
    },
    Proof {
        name: "mutations-guard",
        package: "deputize-guard",
        tests: "mutation",
        variable: ("DEPUTIZE_MUTATIONS", "2000000"),
    },
    Proof { name: "kills", package: "deputize-store", tests: "kill_9", variable: ("DEPUTIZE_KILLS", "50") },
    Proof { name: "disk", package: "deputize-store", tests: "r3_", variable: ("DEPUTIZE_DISK_STEP", "1") },
    Proof { name: "cache", package: "deputize-client", tests: "x_14", variable: ("DEPUTIZE_CACHE_OPS", "1000000") },
    Proof { name: "single-use", package: "deputize-store", tests: "a_03", variable: ("DEPUTIZE_CODES", "1000") },
    Proof {
        name: "single-use-wire",
        package: "deputize-authority",
        tests: "a_03",
        variable: ("DEPUTIZE_CODES", "1000"),
    },
    Proof { name: "kills-process", package: "deputize", tests: "kill_minus_nine", variable: ("DEPUTIZE_KILLS", "50") },
    Proof {
        name: "events",
        package: "deputize-authority",
        tests: "cut_offs_reach",
        variable: ("DEPUTIZE_CUT_OFFS", "100"),
    },
    Proof {
        name: "work-orders",
        package: "deputize-authority",
        tests: "f4_",
        variable: ("DEPUTIZE_WORK_ORDERS", "1000000"),
    },
    Proof { name: "providers", package: "deputize-sidecar", tests: "r8_", variable: ("DEPUTIZE_FLOOD", "100000") },
    Proof {
        name: "introspections",
        package: "deputize-sidecar",
        tests: "r9_",
        variable: ("DEPUTIZE_INTROSPECTIONS", "100000"),
    },
    Proof {
        name: "user-tokens",
        package: "deputize-sidecar",
        tests: "r10_",
        variable: ("DEPUTIZE_USER_TOKENS", "1000000"),
    },
    Proof {
        name: "gateway-paths",
        package: "deputize-gateway",
        tests: "gateway_paths",
        variable: ("DEPUTIZE_PATHS", "1000000"),
    },
    Proof {
        name: "gateway-restarts",
        package: "deputize",
        tests: "r19_reloads_and_restarts",
        variable: ("DEPUTIZE_RESTARTS", "50"),
    },
    Proof { name: "overload", package: "deputize", tests: "r6_", variable: ("DEPUTIZE_OVERLOAD_SECONDS", "10") },
    Proof { name: "soak", package: "deputize", tests: "r11_", variable: ("DEPUTIZE_SOAK_SECONDS", "1800") },
    Proof {
        name: "single-use-process",
        package: "deputize",
        tests: "one_success_per",
        variable: ("DEPUTIZE_CODES", "1000"),
    },
];

/// Runs every proof, or one.
pub(crate) fn run(options: &[&str]) -> Outcome {
    let mut steps: Vec<Step> = PROOFS.iter().map(|proof| Step::new(proof.name, || prove(proof))).collect();
    steps.push(Step::new("timing", timing));
    steps::run("prove", &steps, only(options)?)
}

/// R18: a bench, because a test's neighbours would be heard. 20 000 sign-ins at full cost take about eight minutes.
fn timing() -> Outcome {
    let mut bench = command("cargo", &["bench", "-p", "deputize-authority", "--bench", "timing"]);
    bench.env("DEPUTIZE_TIMING_SAMPLES", "200000").env("DEPUTIZE_TIMING_PASSWORDS", "10000");
    call(bench)
}

fn prove(proof: &'static Proof) -> Outcome {
    let Proof { package, tests, variable: (variable, value), .. } = proof;
    println!("{variable}={value}, tests of {package} whose name has `{tests}`");
    let selected = ["--release", "-p", package, tests];
    let mut command = if is_installed("cargo-nextest") {
        // With no test selected nextest fails by itself.
        command("cargo", &[&["nextest", "run", "--profile", "prove"], selected.as_slice()].concat())
    } else {
        let list = printed(command("cargo", &[&["test"], selected.as_slice(), &["--", "--list"]].concat()))?;
        if !list.lines().any(|line| line.ends_with(": test")) {
            return Err(format!("{package} has no test whose name has `{tests}`"));
        }
        command("cargo", &[&["test"], selected.as_slice()].concat())
    };
    command.env(variable, value);
    call(command)
}
