// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//! Find libgmem with pkg-config, which PKG_CONFIG_PATH directs and PKG_CONFIG replaces. A program
//! that is linked with `-C target-feature=+crt-static` gets the static library.
use std::env;
use std::path::Path;
use std::process::{exit, Command};

fn pkg_config(args: &[&str]) -> String {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    match Command::new(&program).args(args).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().into()
        }
        Ok(output) => {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            eprintln!("install libgmem-dev, or name its directory in PKG_CONFIG_PATH");
            exit(1)
        }
        Err(error) => {
            eprintln!("{program}: {error}; it finds libgmem");
            exit(1)
        }
    }
}

fn main() {
    for name in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=build.rs");

    // A minor version may change anything before 1.0.
    let minor: u32 = env!("CARGO_PKG_VERSION_MINOR").parse().unwrap();
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    pkg_config(&[
        "--exists",
        "--print-errors",
        &format!("libgmem >= {major}.{minor}"),
        &format!("libgmem < {major}.{}", minor + 1),
    ]);

    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    let directory = pkg_config(&["--variable=libdir", "libgmem"]);
    println!("cargo:rustc-link-search=native={directory}");
    println!("cargo:rustc-link-lib={}gmem", if is_static { "static=" } else { "" });
    // Programs that were linked with another one are linked anew.
    for name in ["libgmem.a", "libgmem.so"] {
        let library = Path::new(&directory).join(name);
        if library.exists() {
            println!("cargo:rerun-if-changed={}", library.display());
        }
    }
}
