package lenet;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;

/**
 * Threads that share out the pieces of a batch, the caller among them.
 *
 * <p>Whoever is free takes the next piece. So nothing waits for a thread that Linux wakes late (it
 * may queue a second one for 3 ms behind the first, beside an idle core), or that the driver's own
 * threads have driven off its core.
 */
final class Team {
    private static final int PIECES = 4;

    private static final ExecutorService HELPERS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task, "lenet");
        thread.setDaemon(true);
        return thread;
    });

    private Team() {
    }

    /** Into how many pieces to cut a batch: several a thread, for a late one leaves its share. */
    static int pieces(int threads) {
        return threads == 1 ? 1 : threads * PIECES;
    }

    /** Does pieces 0 to pieces - 1; what one of them throws is thrown here. */
    static void run(int threads, int pieces, IntConsumer work) {
        Round round = new Round(pieces, work);
        for (int helper = 1; helper < Math.min(threads, pieces); helper++) {
            HELPERS.execute(round);
        }
        round.run();
        round.finish();
    }

    private static final class Round implements Runnable {
        private final int pieces;
        private final IntConsumer work;
        private final AtomicInteger next = new AtomicInteger();
        private final CountDownLatch left;
        private volatile Throwable error;

        Round(int pieces, IntConsumer work) {
            this.pieces = pieces;
            this.work = work;
            left = new CountDownLatch(pieces);
        }

        @Override
        public void run() {
            for (int piece; (piece = next.getAndIncrement()) < pieces; left.countDown()) {
                try {
                    work.accept(piece);
                } catch (Throwable thrown) {
                    error = thrown;
                }
            }
        }

        void finish() {
            try {
                left.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(interrupted);
            }
            if (error != null) {
                throw new IllegalStateException(error);
            }
        }
    }
}
