//! A PostgreSQL server of the tests' own. It depends on nothing else here, since the ledger's unit
//! tests use it too.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Runs a server until its standard input ends, which it does in whatever way the tests end. The
/// server refuses to work as root, so another user runs it then.
const SCRIPT: &str = r#"
trap '' INT TERM HUP PIPE
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
if ! command -v initdb >/dev/null || ! command -v pg_ctl >/dev/null; then
  echo "PostgreSQL's server programs are missing; tests/run installs them"
  exit 1
fi
directory=$(mktemp -d) && cd "$directory" || exit 1
as=
if [ "$(id -u)" -eq 0 ]; then
  as='setpriv --reuid=65534 --regid=65534 --clear-groups'
  chown 65534:65534 .
fi
server() {
  $as pg_ctl -D "$directory/data" -l "$directory/log" -s -w "$@" 2>&1 && echo "done $directory" ||
    cat log
}
$as initdb -D "$directory/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >init 2>&1 || cat init
options="-c fsync=off -c listen_addresses= -c unix_socket_directories=$directory"
server start -o "$options -c max_connections=300"
while read -r order; do
  case $order in
    stop) server stop -m immediate ;;
    restart) server restart -m fast -o "$options" ;;
    start) server start -o "$options" ;;
  esac
done
server stop -m immediate >/dev/null
rm -rf "$directory"
"#;

/// A running server with an empty database. It and its data are gone when this is dropped, or the
/// tests end.
pub(crate) struct Postgres {
    keeper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: String,
}

impl Postgres {
    /// Starts a new one.
    pub(crate) fn start() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().expect("there is a shell");
        let orders = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("it was asked for"));
        let mut postgres = Self { keeper, orders, answers, directory: String::new() };
        postgres.directory = postgres.answer();
        postgres
    }

    /// The `--state.url` of this schema, which must be there.
    pub(crate) fn url(&self, schema: &str) -> String {
        let Self { directory, .. } = self;
        format!(
            "postgres://postgres@localhost/postgres?host={directory}&options[search_path]={schema}"
        )
    }

    /// Takes the server away, as a crash would.
    pub(crate) fn crash(&mut self) {
        self.order("stop");
    }

    /// Starts it again where it crashed.
    pub(crate) fn come_back(&mut self) {
        self.order("start");
    }

    /// Restarts it as an administrator would: what is under way is broken off, and ends in order.
    pub(crate) fn restart(&mut self) {
        self.order("restart");
    }

    /// Its socket in the file system.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        std::path::Path::new(&self.directory).join(".s.PGSQL.5432")
    }

    fn order(&mut self, command: &str) {
        let orders = self.orders.as_mut().expect("it is open until this is dropped");
        writeln!(orders, "{command}").expect("the shell reads");
        assert_eq!(self.answer(), self.directory, "{command}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the shell writes text");
        if let Some(directory) = line.strip_prefix("done ") {
            return directory.trim_end().to_owned();
        }
        self.orders = None;
        self.answers.read_to_string(&mut line).expect("the shell writes text");
        panic!("PostgreSQL does not start: {line}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.orders = None;
        // It fails only when the shell has ended already.
        let _ = self.keeper.wait();
    }
}
