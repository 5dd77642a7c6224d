//! The image, the compose stack and what is provisioned in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;

use crate::{Secrets, assert_sound, check, is_pinned, names, read, root, texts, variables, yaml};

#[test]
fn the_stack_mounts_what_is_there_and_pins_its_images() {
    let stack = yaml("docker-compose.yaml");
    let mut services = stack["services"].as_mapping().unwrap().clone();
    let sqlite = yaml("deploy/compose/sqlite.yaml");
    for (name, service) in sqlite["services"].as_mapping().unwrap() {
        services.insert(
            Value::from(format!("sqlite: {}", name.as_str().unwrap())),
            service.clone(),
        );
    }
    let kept = names(&stack["volumes"]);
    let mut mounts = 0;
    for (name, service) in &services {
        let name = name.as_str().unwrap();
        if let Some(image) = service["image"].as_str() {
            assert!(is_pinned(image), "{name}: {image}");
        }
        let volumes = service.get("volumes").map(texts).unwrap_or_default();
        // With what is below an overlay.
        let below = services.get(name.trim_start_matches("sqlite: "));
        let below = below.and_then(|service| service.get("volumes"));
        let all = [below.map(texts).unwrap_or_default(), volumes.clone()].concat();
        for volume in &volumes {
            let target = |volume: &str| volume.split(':').nth(1).unwrap().to_owned();
            let read_only = all.iter().filter(|other| other.ends_with(":ro"));
            for other in read_only.map(|other| target(other) + "/") {
                assert!(
                    !target(volume).starts_with(&other),
                    "{name}: no place for {volume} can be made in {other}, which is read only"
                );
            }
            mounts += 1;
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => {
                    assert!(root().join(path).exists(), "{name} mounts {path}");
                    assert!(volume.ends_with(":ro"), "{name} may write to {path}");
                }
                None => assert!(kept.contains(source), "{name}: no volume {source}"),
            }
        }
        for port in service.get("ports").map(texts).unwrap_or_default() {
            assert!(
                port.starts_with("${") && port.contains("_BIND:-127.0.0.1}:"),
                "{name} is published as {port}"
            );
        }
        let hardened = service["cap_drop"] == serde_yaml::from_str::<Value>("[ALL]").unwrap();
        assert!(
            hardened || name.starts_with("sqlite: "),
            "{name} keeps its capabilities"
        );
        let dependencies = service.get("depends_on").map(names).unwrap_or_default();
        assert!(
            dependencies
                .iter()
                .all(|other| services.contains_key(other.as_str())),
            "{name}"
        );
    }
    assert!(mounts > 10, "{mounts}");
    let published: Vec<_> = services
        .values()
        .filter(|service| service.get("ports").is_some())
        .collect();
    assert_eq!(
        published.len(),
        2,
        "the data plane and Grafana, and nothing else"
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        services["tollgate"]["image"],
        format!("tollgate:{version}").as_str()
    );
    // The tag does not move with the sources: without this an `up` would look for it in a registry, and never build again.
    assert_eq!(services["tollgate"]["pull_policy"], "build");
}

#[test]
fn what_can_be_set_is_in_the_example_and_its_copy_stays_out_of_git() {
    let stack = read("docker-compose.yaml");
    let example = read(".env.example");
    let document = read("docs/install.md");
    let parsed = yaml("docker-compose.yaml");
    let given = &parsed["services"]["tollgate"]["environment"];
    let mut names: BTreeSet<String> = variables(&stack).into_iter().map(str::to_owned).collect();
    // A name without a value is passed on from `.env`.
    let entries = given.as_mapping().unwrap().iter();
    let without = entries.filter(|(_, value)| value.is_null());
    names.extend(without.map(|(name, _)| name.as_str().unwrap().to_owned()));
    assert!(names.len() > 9, "{names:?}");
    for name in &names {
        assert!(
            example.contains(&format!("\n#{name}=")),
            ".env.example lacks {name}"
        );
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/install.md lacks {name}"
        );
    }
    for line in example.lines() {
        assert!(
            line.is_empty() || line.starts_with('#'),
            "the copy sets {line} as it is"
        );
    }
    let ignored = read(".gitignore");
    for own in ["/.env", "/docker-compose.override.yaml"] {
        assert!(ignored.lines().any(|line| line == own), "{own}");
    }
}

#[test]
fn links_lead_to_the_port_that_grafana_is_published_at() {
    let stack = yaml("docker-compose.yaml");
    let services = &stack["services"];
    let grafana = &services["grafana"];
    let url = &services["tollgate"]["environment"]["GRAFANA_URL"];
    // Else Grafana sends whoever comes by 127.0.0.1 to a port where nobody is.
    assert_eq!(&grafana["environment"]["GF_SERVER_ROOT_URL"], url);
    let port = texts(&grafana["ports"])[0].clone();
    let port = port.strip_suffix(":3000").unwrap();
    let port = &port[port.rfind("${").unwrap()..];
    assert_eq!(port, "${GRAFANA_PORT:-3000}");
    assert!(url.as_str().unwrap().contains(port), "{url:?}");
}

#[test]
fn the_settings_of_the_stack_are_good() {
    let secrets = Secrets::make();
    let settings = read("deploy/compose/tollgate/tollgate.yaml")
        .replace("/run/tollgate/", "secrets/")
        .replace("/usr/share/tollgate/rules/", "rules/");
    assert_sound(&check(
        &settings,
        &[
            ("secrets", &secrets.tollgates()),
            ("rules", &root().join("rules")),
        ],
    ));
}

#[test]
fn each_gets_its_own_secrets_once() {
    let secrets = Secrets::make();
    let texts = |folder: &Path| -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let text = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        };
        entries.map(text).collect()
    };
    let (tollgates, grafanas) = (texts(&secrets.tollgates()), texts(&secrets.grafanas()));
    assert_eq!(
        tollgates.keys().collect::<Vec<_>>(),
        ["admin-token", "read-token"]
    );
    assert_eq!(
        grafanas.keys().collect::<Vec<_>>(),
        ["admin-password", "secret-key", "tollgate-token"]
    );
    assert_eq!(grafanas["tollgate-token"], tollgates["read-token"]);
    let different: BTreeSet<_> = tollgates.values().chain(grafanas.values()).collect();
    assert_eq!(different.len(), 4);
    assert!(different.iter().all(|text| text.len() == 64));
    secrets.start_again();
    assert_eq!(
        (texts(&secrets.tollgates()), texts(&secrets.grafanas())),
        (tollgates, grafanas),
        "a second start makes no new ones"
    );

    // Who has one folder does not have the other, with the overlay too.
    for file in ["docker-compose.yaml", "deploy/compose/sqlite.yaml"] {
        let parsed = yaml(file);
        for (name, service) in parsed["services"].as_mapping().unwrap() {
            let name = name.as_str().unwrap();
            let volumes = service.get("volumes").map(crate::texts).unwrap_or_default();
            for volume in volumes {
                let source = volume.split(':').next().unwrap();
                if let Some(owner) = source.strip_suffix("-secrets") {
                    assert!(name == "secrets" || name == owner, "{name} has {volume}");
                }
            }
        }
    }
}

#[test]
fn the_data_sources_are_those_of_the_dashboards() {
    let own = "grafana/provisioning/datasources/tollgate.yaml";
    let (text, parsed) = (read(own), yaml(own));
    let kinds = |parsed: &Value| -> Vec<(String, String)> {
        let sources = parsed["datasources"].as_sequence().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        sources
            .map(|source| (text(&source["uid"]), text(&source["type"])))
            .collect()
    };
    // It is copied into other Grafanas too: there it would overwrite a source of the same name, and two defaults keep
    // Grafana from starting.
    let ledger = "yesoreyeram-infinity-datasource".to_owned();
    assert_eq!(kinds(&parsed), [("tollgate-ledger".to_owned(), ledger)]);
    let source = &parsed["datasources"][0];
    assert!(source["name"].as_str().unwrap().contains("Tollgate"));
    assert!(source.get("isDefault").is_none());
    let stacks = kinds(&yaml("deploy/compose/datasources.yaml"));
    assert!(
        stacks.contains(&("prometheus".to_owned(), "prometheus".to_owned())),
        "{stacks:?}"
    );

    let stack = yaml("docker-compose.yaml");
    let grafana = &stack["services"]["grafana"];
    let given = names(&grafana["environment"]);
    for name in variables(&text) {
        assert!(given.contains(name), "Grafana is not given {name}");
    }
    let secrets = Secrets::make();
    let folder = "/etc/grafana/secrets/";
    let stated = grafana["environment"].as_mapping().unwrap().values();
    let files = stated.filter_map(|value| value.as_str()?.strip_prefix(folder));
    let in_sources = text.split("$__file{").skip(1);
    let in_sources = in_sources.map(|rest| {
        let file = rest.split('}').next().unwrap();
        file.strip_prefix(folder).unwrap()
    });
    let named: BTreeSet<_> = files.chain(in_sources).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for name in named {
        assert!(
            secrets.grafanas().join(name).exists(),
            "secrets.sh makes no {name}"
        );
    }

    let provider = yaml("grafana/provisioning/dashboards/tollgate.yaml");
    let path = provider["providers"][0]["options"]["path"]
        .as_str()
        .unwrap();
    let mounted = texts(&grafana["volumes"]);
    assert!(
        mounted.contains(&format!("./grafana/dashboards:{path}:ro")),
        "{mounted:?}"
    );
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        .as_str()
        .unwrap();
    let home = home.strip_prefix(path).unwrap().trim_start_matches('/');
    assert!(
        root().join("grafana/dashboards").join(home).exists(),
        "{home}"
    );
    for plugin in grafana["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
        .as_str()
        .unwrap()
        .split(',')
    {
        assert!(plugin.contains('@'), "{plugin} has no version");
    }
}

#[test]
fn the_stack_runs_the_grafana_that_the_dashboards_are_checked_against() {
    let package: serde_json::Value =
        serde_json::from_str(&read("tests/clients/package.json")).unwrap();
    let checked = package["dependencies"]["@grafana/schema"].as_str().unwrap();
    let stack = yaml("docker-compose.yaml");
    assert_eq!(
        stack["services"]["grafana"]["image"],
        format!("grafana/grafana:{checked}").as_str()
    );
}

#[test]
fn prometheus_takes_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("prometheus.yaml");
    fs::write(folder.path().join("alerts.yaml"), read("alerts.yaml")).unwrap();
    fs::write(
        &settings,
        read("deploy/prometheus/prometheus.yaml").replace("/etc/prometheus/", ""),
    )
    .unwrap();
    let output = Command::new("promtool")
        .args(["check", "config"])
        .arg(&settings)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let alertmanager = yaml("deploy/alertmanager/alertmanager.yaml");
    assert_eq!(
        alertmanager["route"]["receiver"],
        alertmanager["receivers"][0]["name"]
    );
}

#[test]
fn the_image_says_the_same_as_the_manifest() {
    let dockerfile = read("Dockerfile");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        dockerfile.contains(&format!("\nARG VERSION={version}\n")),
        "{version}"
    );
    for line in dockerfile.lines().filter(|line| line.starts_with("FROM ")) {
        assert!(!line.contains("latest") && line.contains(':'), "{line}");
    }
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    let built_with = dockerfile
        .split("FROM rust:")
        .nth(1)
        .unwrap()
        .split('-')
        .next()
        .unwrap();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    assert!(
        minor(built_with) >= minor(wanted),
        "{built_with} is older than {wanted}"
    );
    // What the stack grants to stop in is more than what Tollgate grants its requests.
    let stack = yaml("docker-compose.yaml");
    assert_eq!(stack["services"]["tollgate"]["stop_grace_period"], "45s");
    // The targets of the manifest reach the build.
    let ignored = read(".dockerignore");
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "benches",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        assert!(
            ignored.lines().any(|line| line == format!("!{needed}")),
            "{needed}"
        );
    }
}

#[test]
fn the_layer_of_dependencies_knows_every_target_of_the_manifest() {
    let dockerfile = read("Dockerfile");
    let step = dockerfile
        .split("\nRUN mkdir -p src benches")
        .nth(1)
        .unwrap();
    let prepare = step.split("&& cargo build").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(root().join(name), folder.path().join(name)).unwrap();
    }
    let prepare = format!("mkdir -p src benches {}", prepare.replace("\\\n", ""));
    let done = Command::new("sh")
        .args(["-c", &prepare])
        .current_dir(&folder)
        .status();
    assert!(done.unwrap().success(), "{prepare}");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(&folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
