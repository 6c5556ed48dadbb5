//! The build tools of a newer Debian's kernel headers, made to run on this system.
//!
//! They are linked against that Debian's C library. Where this system's is older, each is started by the
//! loader of the other, from packages that are unpacked beside the kernel and not installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;

/// What the tools are linked against.
pub(super) const LIBRARIES: [&str; 4] = ["libc6", "libelf1t64", "libzstd1", "zlib1g"];
/// The folder they are unpacked into.
pub(super) const BESIDE: &str = "libraries";
/// How the name of a tool ends that is started by a script.
const MOVED: &str = "elf";
const PLACES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// The tools below `root` that do not run here.
pub(super) fn foreign(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("linux-kbuild-") {
            candidates(&entry.path(), &mut found);
        }
    }
    found.retain(|path| lacks(path));
    found
}

/// Starts them by the loader that lies in `libraries` of the folder `now`, which will be moved to `later`.
pub(super) fn adapt(tools: &[PathBuf], now: &Path, later: &Path) -> Result<()> {
    let libraries = later.join(BESIDE);
    let places = PLACES.map(|place| libraries.join(place).display().to_string()).join(":");
    let loader = Path::new(BESIDE).join(PLACES[0]).join("ld-linux-x86-64.so.2");
    let there = now.join(&loader);
    there.metadata().with_context(|| format!("no {}", there.display()))?;
    let loader = later.join(loader);
    for tool in tools {
        let real = tool.with_extension(MOVED);
        fs::rename(tool, &real)?;
        let real = later.join(real.strip_prefix(now).unwrap_or(&real));
        let (loader, real) = (loader.display(), real.display());
        fs::write(
            tool,
            format!("#!/bin/sh\nexec {loader} --library-path {places} {real} \"$@\"\n"),
        )?;
        fs::set_permissions(tool, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Every program that is not one of [`MOVED`].
fn candidates(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => candidates(&path, found),
            _ if path.extension().is_some_and(|e| e == MOVED) => {}
            Ok(kind) if kind.is_file() && is_program(&path) => found.push(path),
            _ => {}
        }
    }
}

fn is_program(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"))
}

/// Whether a library, or a version of one, is missing here.
fn lacks(path: &Path) -> bool {
    // ldd says so on either stream and ends with any status.
    let said = Command::new("ldd").arg(path).output();
    said.is_ok_and(|said| {
        let all = [said.stdout, said.stderr].concat();
        String::from_utf8_lossy(&all).contains("not found")
    })
}

/// A compiler that takes the options of newer kernels which this system's does not know yet: they say how to
/// align and to warn, not what to generate.
pub(crate) fn compiler(dir: &Path) -> Result<PathBuf> {
    const UNKNOWN: [&str; 3] = [
        "-fmin-function-alignment=",
        "-fdiagnostics-show-context",
        "-Wno-unterminated-string-initialization",
    ];
    let refused: Vec<_> = UNKNOWN
        .into_iter()
        .filter(|option| {
            let mut try_it = Command::new("gcc");
            let option =
                if option.ends_with('=') { format!("{option}16") } else { (*option).into() };
            try_it.args([&option, "-Werror", "-x", "c", "-c", "/dev/null", "-o", "/dev/null"]);
            output(&mut try_it).is_err()
        })
        .collect();
    let case = |option: &&str| match option.strip_suffix('=') {
        // What older compilers call it; theirs leaves cold functions out.
        Some(_) => format!("{option}*) set -- \"$@\" \"-falign-functions=${{word#*=}}\";; "),
        None => format!("{option}*) ;; "),
    };
    let cases: String = refused.iter().map(case).collect();
    let script = format!(
        "#!/bin/sh\nfor word; do shift; case $word in {cases}*) set -- \"$@\" \"$word\";; esac; done\n\
         exec gcc \"$@\"\n"
    );
    let path = dir.join("cc");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_script_names_where_it_will_lie_and_its_program_is_not_taken_twice() {
        let dir = std::env::temp_dir().join(format!("wattprobe-adapt-{}", std::process::id()));
        let scripts = dir.join("root/usr/lib/linux-kbuild-7/scripts");
        let loader = dir.join(BESIDE).join(PLACES[0]);
        fs::create_dir_all(&scripts).unwrap();
        fs::create_dir_all(&loader).unwrap();
        fs::write(loader.join("ld-linux-x86-64.so.2"), "").unwrap();
        let tool = scripts.join("modpost");
        // No program that this system can link, which `ldd` would say of it.
        fs::write(&tool, b"\x7fELF").unwrap();
        adapt(std::slice::from_ref(&tool), &dir, Path::new("/later")).unwrap();
        let script = fs::read_to_string(&tool).unwrap();
        let real = "/later/root/usr/lib/linux-kbuild-7/scripts/modpost.elf";
        assert!(script.contains(&format!("{real} \"$@\"")), "{script}");
        assert!(script.contains("exec /later/libraries/usr/lib"), "{script}");
        assert!(scripts.join("modpost.elf").is_file());
        let mut found = Vec::new();
        // Whatever ldd says, neither the script nor what it starts is a candidate.
        candidates(&dir.join("root"), &mut found);
        assert_eq!(found, Vec::<PathBuf>::new());
        fs::write(scripts.join("fixdep"), b"\x7fELF").unwrap();
        candidates(&dir.join("root"), &mut found);
        assert_eq!(found, [scripts.join("fixdep")]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_compiler_keeps_every_word_it_knows_in_order() {
        let dir = std::env::temp_dir().join(format!("wattprobe-cc-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let compiler = compiler(&dir).unwrap();
        let (source, object) = (dir.join("a b.c"), dir.join("a b.o"));
        fs::write(&source, "int x;\n").unwrap();
        let mut build = Command::new(&compiler);
        build.args(["-O2", "-fmin-function-alignment=16", "-fdiagnostics-show-context=2", "-c"]);
        output(build.arg(&source).arg("-o").arg(&object)).unwrap();
        assert!(object.is_file());
        fs::remove_dir_all(&dir).unwrap();
    }
}
