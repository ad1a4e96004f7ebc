// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/worker.h"

#include <kj/debug.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace cairn::env {

namespace {

class ThreadWorker final : public Worker {
  // The one place with a lock: jobs cross to the threads under it and come back under it.
 public:
  ThreadWorker(kj::UnixEventPort& events, unsigned threadLimit)
      : threadLimit(threadLimit),
        wakeup(makeEventFd()),
        observer(events, wakeup, kj::UnixEventPort::FdObserver::OBSERVE_READ),
        listening(listen().eagerlyEvaluate(
            [](kj::Exception&& e) { KJ_LOG(FATAL, "the worker's wake-up descriptor failed", e); })) {}

  ~ThreadWorker() noexcept(false) {
    {
      std::lock_guard guard(mutex);
      KJ_ASSERT(queue.empty() && finished.empty(), "work outlives its worker");
      stopping = true;
    }
    changed.notify_all();
    for (auto& thread : threads) thread.join();
  }

  kj::Promise<void> run(kj::Function<void()> work) override {
    return kj::newAdaptedPromise<void, Job>(*this, kj::mv(work));
  }

 private:
  struct Job {
    enum class State { QUEUED, RUNNING, FINISHED, ANSWERED };

    Job(kj::PromiseFulfiller<void>& fulfiller, ThreadWorker& worker, kj::Function<void()> work)
        : fulfiller(fulfiller), worker(worker), work(kj::mv(work)) {
      worker.enqueue(*this);
    }
    ~Job() noexcept(false) { worker.forget(*this); }

    kj::PromiseFulfiller<void>& fulfiller;
    ThreadWorker& worker;
    kj::Function<void()> work;
    kj::Maybe<kj::Exception> failure;
    State state = State::QUEUED;  // under the worker's mutex
  };

  const unsigned threadLimit;
  kj::AutoCloseFd wakeup;
  kj::UnixEventPort::FdObserver observer;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job*> queue;
  std::vector<Job*> finished;
  unsigned idle = 0;
  bool stopping = false;
  std::vector<std::thread> threads;
  kj::Promise<void> listening;

  static kj::AutoCloseFd makeEventFd() {
    int fd;
    KJ_SYSCALL(fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return kj::AutoCloseFd(fd);
  }

  void enqueue(Job& job) {
    bool grow;
    {
      std::lock_guard guard(mutex);
      queue.push_back(&job);
      grow = idle < queue.size() && threads.size() < threadLimit;
    }
    if (grow) {
      threads.emplace_back([this] { serve(); });
    } else {
      changed.notify_one();
    }
  }

  void forget(Job& job) {
    std::unique_lock guard(mutex);
    if (job.state == Job::State::QUEUED) {
      queue.erase(std::find(queue.begin(), queue.end(), &job));
    } else {
      changed.wait(guard, [&] { return job.state != Job::State::RUNNING; });
      if (job.state == Job::State::FINISHED) {
        finished.erase(std::find(finished.begin(), finished.end(), &job));
      }
    }
  }

  void serve() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);  // signals belong to the loops
    std::unique_lock guard(mutex);
    for (;;) {
      idle++;
      changed.wait(guard, [&] { return stopping || !queue.empty(); });
      idle--;
      if (queue.empty()) return;
      Job& job = *queue.front();
      queue.pop_front();
      job.state = Job::State::RUNNING;
      guard.unlock();
      auto failure = kj::runCatchingExceptions([&] { job.work(); });
      guard.lock();
      job.failure = kj::mv(failure);
      job.state = Job::State::FINISHED;
      finished.push_back(&job);
      if (finished.size() == 1) {
        uint64_t one = 1;
        KJ_SYSCALL(::write(wakeup, &one, sizeof(one)));
      }
      changed.notify_all();  // a destroyed promise may be waiting for this very job
    }
  }

  kj::Promise<void> listen() {
    auto ready = observer.whenBecomesReadable();
    answer();
    return ready.then([this] { return listen(); });
  }

  void answer() {
    uint64_t count;
    (void)!::read(wakeup, &count, sizeof(count));
    std::lock_guard guard(mutex);
    for (Job* job : finished) {
      job->state = Job::State::ANSWERED;
      KJ_IF_MAYBE (failure, job->failure) {
        job->fulfiller.reject(kj::cp(*failure));
      } else {
        job->fulfiller.fulfill();
      }
    }
    finished.clear();
  }
};

class InlineWorker final : public Worker {
 public:
  kj::Promise<void> run(kj::Function<void()> work) override { return kj::evalLater(kj::mv(work)); }
};

}  // namespace

kj::Own<Worker> newThreadWorker(kj::UnixEventPort& events, unsigned threads) {
  return kj::heap<ThreadWorker>(events, threads);
}

kj::Own<Worker> newInlineWorker() {
  return kj::heap<InlineWorker>();
}

}  // namespace cairn::env
