/* Streams and events of the emulated device. What is queued waits until somebody waits for it, and then runs no further than that
 * asks for: what nothing orders happens late, as it may on a device. */
#include <cuda_runtime.h>

#include <deque>
#include <list>
#include <thread>

#undef cudaStreamSynchronize
#undef cudaStreamWaitEvent
#undef cudaEventRecord
#undef cudaEventSynchronize

struct emulated_stream {
    std::deque<std::function<void()>> queue;
    uint64_t queued, done; /* operations so far */
};
struct emulated_event {
    cudaStream_t stream; /* NULL: never recorded */
    uint64_t at;         /* happens once so many of its operations are done */
};

namespace {

std::list<emulated_stream> streams(1); /* the first is CUDA's own; destroyed ones stay: what they have queued goes on */

emulated_stream *
or_default(cudaStream_t stream)
{
    return stream ? stream : &streams.front();
}

void
run(emulated_stream *s, uint64_t until)
{
    while (s->done < until) {
        const std::function<void()> next = std::move(s->queue.front());

        s->queue.pop_front();
        next();
        s->done++;
    }
}

} // namespace

void
emulated_queue(cudaStream_t stream, std::function<void()> operation)
{
    emulated_stream *s = or_default(stream);

    s->queue.push_back(std::move(operation));
    s->queued++;
}

void
emulated_wait_for_all(void)
{
    for (emulated_stream &s : streams)
        run(&s, s.queued);
}

extern "C" {

cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    streams.emplace_back();
    *stream = &streams.back();
    return cudaSuccess;
}

cudaError_t
cudaStreamDestroy(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
    run(or_default(stream), or_default(stream)->queued);
    return emulated_fault();
}

cudaError_t
cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const emulated_event e = *event;

    if (e.stream)
        emulated_queue(stream, [e] { run(e.stream, e.at); });
    return cudaSuccess;
}

cudaError_t
cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *arg)
{
    emulated_queue(stream, [fn, arg] { std::thread(fn, arg).join(); }); /* CUDA calls them from a thread of its own */
    return cudaSuccess;
}

cudaError_t
cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new emulated_event{nullptr, 0};
    return cudaSuccess;
}

cudaError_t
cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t
cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    *event = {or_default(stream), or_default(stream)->queued};
    return cudaSuccess;
}

cudaError_t
cudaEventSynchronize(cudaEvent_t event)
{
    if (event->stream)
        run(event->stream, event->at);
    return emulated_fault();
}
}
