// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Programs that lean on a filesystem with all their weight, run in a mount as anybody runs them; those that
// are not installed are skipped.
#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

using Programs = EndToEnd;

#define NEEDS(name)                                                                 \
  if (!shell("command -v " name).ok()) GTEST_SKIP() << name << " is not installed"; \
  auto& c = start({.chunkds = 2, .replicas = 2})

TEST_F(Programs, GitClonesChecksAndPacks) {
  NEEDS("git");
  const char* setup =
      "export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; "
      "git config --global init.defaultBranch main; ";
  EXPECT_OK(c.sh(
      std::string(setup) +
          "git init -q first; cd first; for i in 1 2 3 4 5 6 7 8; do mkdir d$i; for j in 1 2 3 4 5 6; do "
          "head -c ${j}0000 /dev/urandom | base64 > d$i/f$j; done; git add -A; git commit -qm $i; done; "
          "git mv d1 moved; git commit -qm moved; git fsck --strict",
      {.patience = 100s}));
  EXPECT_OK(c.sh(std::string(setup) +
                     "git clone -q --no-local first second; cd second; git fsck --strict; "
                     "git gc -q; git fsck --strict; test -z \"$(git status --porcelain)\"; "
                     "git checkout -q HEAD~3; git checkout -q main; diff -r -x .git . ../first",
                 {.patience = 100s}));
}

TEST_F(Programs, SqliteKeepsItsDatabaseWholeInBothModes) {
  NEEDS("sqlite3");
  for (auto mode : {"wal", "delete", "truncate", "persist"}) {
    std::string database = std::string(mode) + ".db";
    EXPECT_OK(c.sh("sqlite3 " + database + " 'PRAGMA journal_mode=" + mode +
                   "; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);'"));
    // Four writers at once; each waits for the others' locks.
    EXPECT_OK(c.sh(
        "for w in 1 2 3 4; do (for i in 1 2 3 4 5 6 7 8 9 10; do sqlite3 -cmd '.timeout 20000' " + database +
            " \"INSERT INTO t(text) VALUES(hex(randomblob(2000)));\"; done) & pids=\"${pids:-} $!\"; done; "
            "for p in $pids; do wait $p; done",
        {.patience = 100s}));
    auto checked = c.sh("sqlite3 " + database + " 'PRAGMA integrity_check; SELECT count(*) FROM t;'");
    EXPECT_EQ(checked.out, "ok\n40\n") << mode << checked.describe();
  }
}

TEST_F(Programs, ATreeIsBuiltWithMake) {
  NEEDS("make");
  std::string compiler = shell("command -v cc").ok() ? "cc" : "clang-19";
  EXPECT_OK(
      c.sh("mkdir src; for i in 1 2 3 4 5 6 7 8; do echo \"int f$i(void) { return $i; }\" > src/f$i.c; done; "
           "echo 'int f1(void); int main(void) { return f1() - 1; }' > src/main.c; "
           "printf 'program: $(patsubst %%.c,%%.o,$(wildcard *.c))\\n\\t" +
           compiler + " -o $@ $^\\n%%.o: %%.c\\n\\t" + compiler + " -c -o $@ $<\\n' > src/Makefile"));
  EXPECT_OK(c.sh("cd src; make -s -j2; ./program", {.patience = 100s}));
  EXPECT_EQ(c.sh("cd src; make").out.find("up to date") != std::string::npos, true)
      << "times are kept in order";
  EXPECT_OK(c.sh("cd src; touch f3.c; make -s -j2; test -n \"$(find . -newer f3.c -name program)\"",
                 {.patience = 100s}));
}

TEST_F(Programs, RsyncHasNothingToDoTheSecondTime) {
  NEEDS("rsync");
  EXPECT_OK(shell("set -e; mkdir -p " + c.scratch("tree/d") + "; cd " + c.scratch("tree") +
                  "; echo x > f; ln f hard; ln -s f soft; mkfifo p; truncate -s 10M sparse; echo y >> "
                  "sparse; chmod 4755 f; "
                  "setfattr -n user.x -v 1 f; touch -d '1999-01-01 01:02:03.123456789' d/old"));
  EXPECT_OK(c.sh("rsync -aHAX " + c.scratch("tree/") + " copy/"));
  EXPECT_EQ(c.sh("rsync -aHAXi " + c.scratch("tree/") + " copy/").out, "");
}

TEST_F(Programs, TarBringsBackWhatItWasGiven) {
  NEEDS("tar");
  EXPECT_OK(c.sh(
      "mkdir -p t/d; cd t; head -c 300000 /dev/urandom > f; ln f d/hard; ln -s ../f d/soft; mkfifo d/p; "
      "truncate -s 50M sparse; echo end >> sparse; chmod 2755 d; touch -d '1999-01-01 01:02:03.123456789' f; "
      "cd ..; tar --sparse --xattrs --acls -cf a.tar t; mkdir out; tar --xattrs --acls -C out -xpf a.tar; "
      "diff -r --exclude=p t out/t; for f in f d sparse; do "
      "test \"$(stat -c '%a %s %y %h' t/$f)\" = \"$(stat -c '%a %s %y %h' out/t/$f)\"; done; "
      "test $(stat -c %s a.tar) -lt 1000000; test $(stat -c %b out/t/sparse) -lt 100",
      {.patience = 60s}));
}

TEST_F(Programs, PostgresKeepsItsDatabaseThroughAKill) {
  // As nobody, since it refuses to run as root. What pgbench has moved between accounts must add up, and
  // every page must have its checksum.
  auto found = shell("ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1");
  if (!found.ok() || found.out.empty()) GTEST_SKIP() << "postgresql is not installed";
  auto& c = start({.chunkds = 2, .replicas = 2});
  auto bin = found.out.substr(0, found.out.find('\n'));
  auto sockets = c.scratch("sockets");
  auto as =
      "cd /; export PGHOST=" + sockets + " PGDATA=" + c.mount() + "/pg PGUSER=u PATH=" + bin + ":$PATH; ";
  auto postgres = [&](const std::string& script) {
    return test::run(
        {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-ec", as + script},
        {.patience = 200s});
  };
  ASSERT_OK(shell("chmod 755 " + c.scratch("") + "; mkdir " + sockets + " " + (c / "pg") + "; chown 65534 " +
                  sockets + " " + (c / "pg") + "; chmod 700 " + (c / "pg")));
  ASSERT_OK(postgres("initdb --data-checksums -U u -A trust >/dev/null"));
  auto begin = "pg_ctl -w -t 100 -l " + sockets + "/log -o \"-k " + sockets +
               " -c listen_addresses=''\" start >/dev/null; ";
  ASSERT_OK(postgres(begin + "createdb b; psql -q -c 'CREATE EXTENSION amcheck' b; pgbench -i -s 2 -q b; "
                             "pgbench -c 4 -j 2 -T 8 b; kill -9 $(head -1 "
                             "$PGDATA/postmaster.pid)"));
  // Its children notice that it is gone, and end; before that no other server starts.
  ASSERT_TRUE(eventually(30s, [&]() { return !shell("pgrep -u 65534 -x postgres").ok(); }));
  auto sums =
      postgres(begin +
               "pgbench -n -c 4 -j 2 -T 4 b >/dev/null; pg_amcheck b >&2; psql -At b -c 'SELECT (SELECT "
               "sum(abalance) FROM "
               "pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history), (SELECT sum(tbalance) "
               "FROM pgbench_tellers) = "
               "(SELECT sum(bbalance) FROM pgbench_branches)'; pg_ctl -w -m fast stop >/dev/null; "
               "pg_checksums --check >&2");
  EXPECT_TRUE(sums.ok()) << sums.describe();
  EXPECT_EQ(sums.out, "t|t\n") << sums.describe();
}

TEST_F(Programs, DbenchReplaysItsLoad) {
  NEEDS("dbench");
  auto ran = c.sh("dbench -c /usr/share/dbench/client.txt -D . -t 10 4", {.patience = 100s});
  EXPECT_TRUE(ran.ok()) << ran.describe();
  EXPECT_NE(ran.out.find("Throughput"), std::string::npos) << ran.describe();
  EXPECT_EQ((ran.out + ran.err).find("ERROR"), std::string::npos) << ran.describe();
}

TEST_F(Programs, StressNgEndsAsOnTheLocalDisk) {
  // Its stressors, verifying; those that fail or refuse must be those that do so on the local disk.
  // CAIRN_STRESS_NG=10 runs all of its filesystem class one after the other, each for so many seconds.
  NEEDS("stress-ng");
  auto all = std::getenv("CAIRN_STRESS_NG");
  std::string which = "--class filesystem --sequential 1 --timeout " + std::string(all == nullptr ? "" : all);
  if (all == nullptr) {
    which = "--timeout 10";
    for (auto name : {"chmod", "chown", "dentry", "dir", "fallocate", "fcntl", "fpunch", "getdent", "iomix",
                      "link", "lockf", "open", "rename", "symlink", "touch", "utime", "xattr"}) {
      which += std::string(" --") + name + " 1";
    }
  }
  auto ends = [&](const std::string& directory) {
    auto ran = shell(
        "stress-ng " + which + " --verify --temp-path " + directory +
            " 2>&1 | grep -E '(passed|failed|skipped):' | sed 's/.*\\(passed\\|failed\\|skipped\\)/\\1/'",
        {.patience = 3600s});
    EXPECT_TRUE(ran.ok()) << ran.describe();
    return ran.out;
  };
  ::mkdir(c.scratch("local").c_str(), 0755);
  EXPECT_EQ(ends(c.mount()), ends(c.scratch("local")));
}

}  // namespace
}  // namespace cairn::e2e
