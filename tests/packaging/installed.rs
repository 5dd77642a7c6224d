//! The unit, the Debian package and the sidecar's manifest.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;

use crate::{Secrets, TOLLGATE, assert_sound, check, is_pinned, read, root, texts};

#[test]
fn the_unit_starts_what_the_package_brings() {
    let unit = read("deploy/tollgate.service");
    let value = |name: &'static str| {
        unit.lines()
            .filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tollgate.yaml");
    install(folder.path());
    let lines = ["ExecStart", "ExecReload"].into_iter().flat_map(value);
    let mut started = 0;
    for line in lines.filter(|line| !line.starts_with("/bin/kill -HUP ")) {
        let line = line.replace("/etc/tollgate/tollgate.yaml", settings.to_str().unwrap());
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("/usr/bin/tollgate"));
        let words: Vec<_> = words.collect();
        let mut command = Command::new(TOLLGATE);
        command.env_clear().args(&words);
        if words[0] == "check" {
            assert_sound(&command.output().unwrap());
        } else {
            // What is said before `--help` has to exist too.
            assert!(
                command.arg("--help").output().unwrap().status.success(),
                "{line}"
            );
        }
        started += 1;
    }
    assert_eq!(started, 2);
    // The one folder that the unit lets it write to.
    assert_eq!(value("StateDirectory").next(), Some("tollgate"));
    assert!(read("deploy/debian/tollgate.yaml").contains("\ndata_dir: /var/lib/tollgate\n"));
}

/// What the package puts into /etc/tollgate, put into `folder`: its files, and what postinst makes. Who owns what is not
/// changed, which takes root and the user.
fn install(folder: &Path) {
    let etc = folder.to_str().unwrap();
    let settings = folder.join("tollgate.yaml");
    let text = read("deploy/debian/tollgate.yaml").replace("/etc/tollgate", etc);
    fs::write(&settings, text).unwrap();
    let rules = folder.join("rules");
    if !rules.exists() {
        std::os::unix::fs::symlink(root().join("rules"), rules).unwrap();
    }
    let text = read("deploy/debian/postinst").replace("/etc/tollgate", etc);
    let stand_ins = "chown() { :; }\ngetent() { :; }\n";
    let done = Command::new("sh")
        .args(["-c", &format!("{stand_ins}{text}"), "postinst", "configure"])
        .status();
    assert!(done.unwrap().success());
}

#[test]
fn the_package_makes_the_tokens_of_the_admin_port_once() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path());
    let names = ["admin-token", "read-token"];
    let tokens = || names.map(|name| fs::read_to_string(folder.path().join(name)).unwrap());
    let made = tokens();
    assert_ne!(made[0], made[1]);
    for (name, token) in names.iter().zip(&made) {
        assert!(token.len() == 64, "{name}: {token}");
        let rights = fs::metadata(folder.path().join(name)).unwrap().mode();
        assert_eq!(rights & 0o777, 0o640, "{name}");
        // A purge takes them away, as no other program knows of them.
        assert!(read("deploy/debian/postrm").contains(&format!("/etc/tollgate/{name}")));
    }
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o750);
    install(folder.path());
    assert_eq!(tokens(), made, "an upgrade makes no new ones");
}

#[test]
fn wrong_settings_end_the_unit_for_good() {
    let unit = read("deploy/tollgate.service");
    let value = |name: &'static str| {
        let mut lines = unit.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("tollgate.yaml");
    fs::write(&settings, "listen: nowhere\nno_such_key: 1\n").unwrap();
    let line = value("ExecStart").unwrap();
    let line = line.replace("/etc/tollgate/tollgate.yaml", settings.to_str().unwrap());
    let mut command = Command::new(TOLLGATE);
    command.env_clear().args(line.split_whitespace().skip(1));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("listen") && told.contains("no_such_key"),
        "{told}"
    );
    let code = output.status.code().unwrap().to_string();
    assert_eq!(value("RestartPreventExitStatus"), Some(code.as_str()));
    // systemd.service(5): that setting has no effect on these, and no rate limit ends what waits for RestartSec.
    for name in ["ExecStartPre", "ExecCondition", "ExecStartPost"] {
        assert_eq!(value(name), None, "{name} would be tried again for ever");
    }
}

#[test]
fn the_package_finds_all_it_packs() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "tollgate")
        .unwrap();
    let deb = &package["metadata"]["deb"];
    let mut targets = BTreeSet::new();
    let mut documents = BTreeSet::new();
    for asset in deb["assets"].as_array().unwrap() {
        let (source, target) = (asset[0].as_str().unwrap(), asset[1].as_str().unwrap());
        targets.insert(target);
        if source == "target/release/tollgate" {
            continue;
        }
        let (folder, name) = source.rsplit_once('/').unwrap_or((".", source));
        let (begin, end) = name.split_once('*').unwrap_or((name, ""));
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let fits = |name: &str| name.starts_with(begin) && name.ends_with(end);
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let found: Vec<_> = names.filter(|name| fits(name)).collect();
        assert!(!found.is_empty(), "{source}");
        if let Some(place) = target.strip_prefix("usr/share/doc/tollgate/") {
            documents.extend(found.iter().map(|name| format!("{place}{name}")));
        }
    }
    assert_linked_is_packed(&documents);
    for folder in [
        "usr/bin/",
        "etc/tollgate/",
        "etc/tollgate/rules/",
        "usr/share/tollgate/dashboards/",
    ] {
        assert!(targets.contains(folder), "{folder}");
    }
    for script in ["postinst", "postrm"] {
        let text = read(&format!(
            "{}/{script}",
            deb["maintainer-scripts"].as_str().unwrap()
        ));
        // cargo-deb puts in its place what starts and stops the unit.
        assert!(text.contains("\n#DEBHELPER#\n"), "{script}");
        let path = root().join("deploy/debian").join(script);
        assert!(
            Command::new("sh")
                .arg("-n")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    }
}

/// Links between the documents lead to packed ones, but for what is of use to those alone who have the sources.
fn assert_linked_is_packed(documents: &BTreeSet<String>) {
    let of_the_sources = ["ARCHITECTURE.md", "CONTRIBUTING.md", "grafana/", "src/"];
    let mut checked = 0;
    let is_text = |name: &&String| Path::new(name).extension().is_some_and(|end| end == "md");
    for document in documents.iter().filter(is_text) {
        let text = read(document);
        let links = text.split("](").skip(1).map(|rest| {
            let link = rest.split(')').next().unwrap();
            link.split('#').next().unwrap()
        });
        for link in links.filter(|link| link.contains('.') && !link.contains("://")) {
            let mut place: Vec<_> = document.split('/').collect();
            place.pop();
            for step in link.split('/') {
                if step == ".." {
                    place.pop();
                } else {
                    place.push(step);
                }
            }
            let place = place.join("/");
            checked += 1;
            assert!(
                documents.contains(&place)
                    || of_the_sources.iter().any(|start| place.starts_with(start)),
                "{document} links {place}, which is not in the package"
            );
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn the_sidecar_of_the_manifest_is_complete() {
    let text = read("deploy/kubernetes.yaml");
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect();
    let of_kind = |kind: &str| {
        documents
            .iter()
            .find(|document| document["kind"] == kind)
            .unwrap()
    };

    let settings = of_kind("ConfigMap")["data"]["tollgate.yaml"]
        .as_str()
        .unwrap();
    let secrets = Secrets::make();
    assert_sound(&check(
        &settings.replace("/run/tollgate/", "secrets/"),
        &[("secrets", &secrets.tollgates())],
    ));

    let set = &of_kind("StatefulSet")["spec"];
    let pod = &set["template"]["spec"];
    let named = |list: &Value| -> BTreeSet<String> {
        let items = list.as_sequence().unwrap().iter();
        items
            .map(|item| {
                item["name"]
                    .as_str()
                    .or(item["metadata"]["name"].as_str())
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let volumes: BTreeSet<_> = named(&pod["volumes"])
        .union(&named(&set["volumeClaimTemplates"]))
        .cloned()
        .collect();
    let sidecar = &pod["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(named(&sidecar["volumeMounts"]), volumes);
    for container in [sidecar, &pod["containers"][0]] {
        assert!(is_pinned(container["image"].as_str().unwrap()));
    }
    let port = sidecar["ports"][0]["name"].as_str().unwrap();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(sidecar[probe]["httpGet"]["port"], port);
        let path = sidecar[probe]["httpGet"]["path"].as_str().unwrap();
        assert!(["/livez", "/readyz"].contains(&path), "{path}");
    }
    let mut services = documents.iter().filter(|one| one["kind"] == "Service");
    let service = services
        .find(|service| service["metadata"]["name"] == set["serviceName"])
        .unwrap();
    // Before Kubernetes 1.33 a Service does not see the names of a sidecar's ports.
    assert_eq!(
        service["spec"]["ports"][0]["targetPort"],
        sidecar["ports"][0]["containerPort"]
    );
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    assert_eq!(
        of_kind("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"],
        port
    );
    assert_eq!(sidecar["securityContext"]["readOnlyRootFilesystem"], true);
    let arguments = texts(&sidecar["args"]);
    let help = Command::new(TOLLGATE)
        .args(&arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(help.status.success(), "{arguments:?}");
}

#[test]
fn the_manual_makes_a_rule_of_the_alerts() {
    let manual = read("docs/install.md");
    let start = manual.find("    { printf 'apiVersion: ").unwrap();
    let command = manual[start..].split("\n\n").next().unwrap();
    let output = Command::new("sh")
        .args(["-c", &command.replace("kubectl apply -f -", "cat")])
        .current_dir(root())
        .output()
        .unwrap();
    let made: Value = serde_yaml::from_slice(&output.stdout).unwrap();
    assert_eq!(made["kind"], "PrometheusRule");
    let alerts: Value = serde_yaml::from_str(&read("alerts.yaml")).unwrap();
    assert_eq!(made["spec"]["groups"], alerts["groups"]);
    assert!(!alerts["groups"].as_sequence().unwrap().is_empty());
}
