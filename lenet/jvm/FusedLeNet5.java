package lenet;

import com.intel.analytics.bigdl.dllib.nn.abstractnn.Activity;
import com.intel.analytics.bigdl.dllib.nn.abstractnn.TensorModule;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;
import com.intel.analytics.bigdl.dllib.tensor.TensorNumericMath.TensorNumeric;
import com.intel.analytics.bigdl.mkl.MKL;
import java.util.Arrays;
import scala.Tuple2;
import scala.reflect.ClassTag;

/**
 * The network of lenet/network.py as one BigDL module, for training.
 *
 * <p>The same function of the same parameters in the same order (weight and bias of two
 * convolutions and three linear layers), but for rounding. Images pass through both convolutions
 * a few at a time, while they are in the processor's cache; matrix products and tanh are MKL's,
 * by the library that BigDL brings. Like the standard network, it computes no gradient of the
 * image. Layer-wise scales of gradients (setScaleW) are not regarded.
 */
public class FusedLeNet5 extends TensorModule {
    private static final int CLASSES = 10;

    private final Tensor[] weights;
    private final Tensor[] gradients;
    private transient Memory memory;

    /**
     * @param tag of floats
     * @param floats BigDL's arithmetic of floats
     * @param weights the standard network's ten parameters, which this network makes its own
     * @param gradients tensors of the same shapes
     */
    public FusedLeNet5(ClassTag tag, TensorNumeric floats, Tensor[] weights, Tensor[] gradients) {
        super(tag, floats);
        this.weights = weights.clone();
        this.gradients = gradients.clone();
    }

    @Override
    public Tuple2 parameters() {
        return new Tuple2(weights, gradients);
    }

    @Override
    public void zeroGradParameters() {
        for (Tensor gradient : gradients) {
            Floats floats = new Floats(gradient);
            Arrays.fill(floats.array, floats.offset, floats.offset + floats.length, 0f);
        }
    }

    @Override
    public Activity updateOutput(Activity input) {
        Floats images = new Floats(input);
        int count = images.rows();
        if (images.length != count * FirstBlock.IMAGE) {
            throw new IllegalArgumentException("images are not of 28 x 28 pixels");
        }
        if (memory == null || memory.capacity < count) {
            memory = new Memory(count);
        }
        Floats[] w = floats(weights);
        Memory m = memory;
        for (int first = 0; first < count; first += FirstBlock.TILE) {
            int tile = Math.min(FirstBlock.TILE, count - first);
            m.first.forward(images, first, tile, w[0], w[1], m.maps);
            m.second.forward(m.maps, first, tile, w[2], w[3], m.features);
        }
        tanh(m.features, count * SecondBlock.VALUES);
        m.third.forward(m.features, count, w[4], w[5], m.hidden);
        tanh(m.hidden, count * m.third.outputs);
        m.fourth.forward(m.hidden, count, w[6], w[7], m.top);
        tanh(m.top, count * m.fourth.outputs);
        m.fifth.forward(m.top, count, w[8], w[9], m.scores);
        Tensor result = (Tensor) output();
        result.resize(count, CLASSES);
        logSoftMax(m.scores, count, new Floats(result));
        return result;
    }

    /** Nothing: who trains needs no gradient of the images. */
    @Override
    public Activity updateGradInput(Activity input, Activity gradOutput) {
        return gradInput();
    }

    /** Adds to the gradients; needs the forward pass of the same images just before. */
    @Override
    public void accGradParameters(Activity input, Activity gradOutput) {
        Floats images = new Floats(input);
        int count = images.rows();
        Floats[] w = floats(weights);
        Floats[] g = floats(gradients);
        Memory m = memory;
        logSoftMaxBackward(new Floats(output()), new Floats(gradOutput), count, m.scores);
        m.fifth.backward(m.top, m.scores, count, w[8], g[8], g[9], m.topGradient);
        Vectors.tanhBackward(m.topGradient, m.top, 0, count * m.fourth.outputs);
        m.fourth.backward(m.hidden, m.topGradient, count, w[6], g[6], g[7], m.hiddenGradient);
        Vectors.tanhBackward(m.hiddenGradient, m.hidden, 0, count * m.third.outputs);
        m.third.backward(m.features, m.hiddenGradient, count, w[4], g[4], g[5], m.featureGradient);
        Vectors.tanhBackward(m.featureGradient, m.features, 0, count * SecondBlock.VALUES);
        m.first.startBackward();
        m.second.startBackward();
        for (int first = 0; first < count; first += FirstBlock.TILE) {
            int tile = Math.min(FirstBlock.TILE, count - first);
            m.second.backward(m.maps, first, tile, w[2], m.featureGradient, m.tileGradient);
            m.first.backward(images, first, tile, m.maps, m.tileGradient);
        }
        m.second.endBackward(g[2], g[3]);
        m.first.endBackward(g[0], g[1]);
    }

    private static Floats[] floats(Tensor[] tensors) {
        Floats[] floats = new Floats[tensors.length];
        for (int i = 0; i < tensors.length; i++) {
            floats[i] = new Floats(tensors[i]);
        }
        return floats;
    }

    private static void tanh(float[] values, int length) {
        MKL.vsTanh(length, values, 0, values, 0);
    }

    private static void logSoftMax(float[] scores, int count, Floats result) {
        for (int row = 0; row < count; row++) {
            int at = row * CLASSES;
            float largest = scores[at];
            for (int i = 1; i < CLASSES; i++) {
                largest = Math.max(largest, scores[at + i]);
            }
            double sum = 0;
            for (int i = 0; i < CLASSES; i++) {
                sum += Math.exp(scores[at + i] - largest);
            }
            float logarithm = largest + (float) Math.log(sum);
            for (int i = 0; i < CLASSES; i++) {
                result.array[result.offset + at + i] = scores[at + i] - logarithm;
            }
        }
    }

    private static void logSoftMaxBackward(Floats result, Floats gradient, int count, float[] dx) {
        for (int row = 0; row < count; row++) {
            int at = row * CLASSES;
            float sum = Vectors.sum(gradient.array, gradient.offset + at, CLASSES);
            for (int i = 0; i < CLASSES; i++) {
                float probability = (float) Math.exp(result.array[result.offset + at + i]);
                dx[at + i] = gradient.array[gradient.offset + at + i] - probability * sum;
            }
        }
    }

    /** What the passes need beside parameters, for batches of up to `capacity` images. */
    private static final class Memory {
        final int capacity;
        final FirstBlock first;
        final SecondBlock second;
        final Dense third = new Dense(SecondBlock.VALUES, 120);
        final Dense fourth = new Dense(third.outputs, 84);
        final Dense fifth = new Dense(fourth.outputs, CLASSES);
        final float[] maps;
        final float[] features;
        final float[] hidden;
        final float[] top;
        final float[] scores;
        final float[] featureGradient;
        final float[] hiddenGradient;
        final float[] topGradient;
        final float[] tileGradient = new float[FirstBlock.VALUES * FirstBlock.TILE];

        Memory(int capacity) {
            this.capacity = capacity;
            first = new FirstBlock(capacity);
            second = new SecondBlock(capacity);
            maps = new float[capacity * FirstBlock.VALUES];
            features = new float[capacity * SecondBlock.VALUES];
            hidden = new float[capacity * third.outputs];
            top = new float[capacity * fourth.outputs];
            scores = new float[capacity * CLASSES];
            featureGradient = new float[features.length];
            hiddenGradient = new float[hidden.length];
            topGradient = new float[top.length];
        }
    }
}
