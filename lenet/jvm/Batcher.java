package lenet;

import com.intel.analytics.bigdl.dllib.feature.dataset.ByteRecord;
import com.intel.analytics.bigdl.dllib.feature.dataset.MiniBatch$;
import com.intel.analytics.bigdl.dllib.feature.dataset.Transformer;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;
import java.util.SplittableRandom;
import java.util.concurrent.ThreadLocalRandom;
import scala.collection.AbstractIterator;
import scala.collection.Iterator;
import scala.reflect.ClassTag;

/**
 * Makes normalised mini-batches of 28 x 28 pixels of byte records, in one pass, on several threads.
 *
 * <p>Of larger images it takes a part, at a place drawn anew each time; as with BigDL's
 * GreyImgCropper, that is never the last place. A batch lives until the next one is asked for,
 * whose memory is the same.
 */
public class Batcher implements Transformer {
    private static final int SIDE = 28;
    private static final int PIXELS = SIDE * SIDE;

    private final int threads;
    private final int size;
    private final int side;
    private final float[] normalised = new float[256];
    private final ClassTag tag;
    private final Tensor images;
    private final Tensor labels;

    /**
     * @param threads that share a batch, at least 1
     * @param size records of a batch on this executor; the last of a pass may have fewer
     * @param side rows and columns of a record, at least 28
     * @param mean of the pixels, 0 to 1
     * @param deviation of the pixels
     * @param tag of floats
     * @param images an empty tensor, to be filled
     * @param labels another
     */
    public Batcher(int threads, int size, int side, float mean, float deviation, ClassTag tag,
            Tensor images, Tensor labels) {
        this.threads = threads;
        this.size = size;
        this.side = side;
        this.tag = tag;
        this.images = images;
        this.labels = labels;
        for (int value = 0; value < 256; value++) {
            normalised[value] = (value / 255f - mean) / deviation;
        }
    }

    @Override
    public Iterator apply(Iterator records) {
        return new Batches(records);
    }

    private final class Batches extends AbstractIterator {
        private final Iterator records;
        Batches(Iterator records) {
            this.records = records;
        }

        @Override
        public boolean hasNext() {
            return records.hasNext();
        }

        @Override
        public Object next() {
            ByteRecord[] taken = new ByteRecord[size];
            int found = 0;
            for (; found < size && records.hasNext(); found++) {
                taken[found] = (ByteRecord) records.next();
            }
            int count = found;
            images.resize(count, SIDE, SIDE);
            labels.resize(count);
            float[] pixels = (float[]) images.storage().array();
            float[] answers = (float[]) labels.storage().array();
            long seed = ThreadLocalRandom.current().nextLong();
            int pieces = Team.pieces(threads);
            Team.run(threads, pieces, piece -> {
                for (int i = count * piece / pieces; i < count * (piece + 1) / pieces; i++) {
                    answers[i] = taken[i].label();
                    copy(taken[i].data(), pixels, i * PIXELS, new SplittableRandom(seed + i));
                }
            });
            return MiniBatch$.MODULE$.apply(images, labels, tag);
        }

        private void copy(byte[] record, float[] pixels, int at, SplittableRandom random) {
            int margin = side - SIDE;
            int top = margin > 0 ? random.nextInt(margin) : 0;
            int left = margin > 0 ? random.nextInt(margin) : 0;
            float[] table = normalised;
            for (int row = 0; row < SIDE; row++) {
                int from = (top + row) * side + left;
                int to = at + row * SIDE;
                for (int column = 0; column < SIDE; column++) {
                    pixels[to + column] = table[record[from + column] & 255];
                }
            }
        }
    }
}
