package lenet;

import com.intel.analytics.bigdl.dllib.nn.abstractnn.Activity;
import com.intel.analytics.bigdl.dllib.nn.abstractnn.TensorModule;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;
import com.intel.analytics.bigdl.dllib.tensor.TensorNumericMath.TensorNumeric;
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
 *
 * <p>One network keeps all cores of an executor busy, where BigDL has a replica for each core.
 */
public class FusedLeNet5 extends TensorModule {
    static {
        Compilation.begin();
    }

    private final int threads;
    private final Tensor[] weights;
    private final Tensor[] gradients;
    private transient Part[] parts;
    private transient int perPart;

    /**
     * @param threads that share a batch, at least 1
     * @param tag of floats
     * @param floats BigDL's arithmetic of floats
     * @param weights the standard network's ten parameters, which this network makes its own
     * @param gradients tensors of the same shapes
     */
    public FusedLeNet5(
            int threads, ClassTag tag, TensorNumeric floats, Tensor[] weights, Tensor[] gradients) {
        super(tag, floats);
        this.threads = threads;
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
            new Floats(gradient).fill(0f);
        }
    }

    @Override
    public Activity updateOutput(Activity input) {
        Floats images = new Floats(input);
        int count = images.rows();
        if (images.length != count * FirstBlock.IMAGE) {
            throw new IllegalArgumentException("images are not of 28 x 28 pixels");
        }
        Tensor output = (Tensor) output();
        output.resize(count, Part.CLASSES);
        Floats result = new Floats(output);
        Floats[] w = floats(weights);
        share(count);
        Team.run(threads, parts.length, part -> {
            int from = part * perPart;
            parts[part].forward(images, from, Math.min(perPart, count - from), w, result);
        });
        return output;
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
        Floats result = new Floats(output());
        Floats gradient = new Floats(gradOutput);
        Floats[] w = floats(weights);
        int count = images.rows();
        Team.run(threads, parts.length, part -> {
            int from = part * perPart;
            parts[part].backward(
                    images, from, Math.min(perPart, count - from), w, result, gradient);
        });
        // Always in the same order, so that the sums are always the same.
        Floats[] sums = floats(gradients);
        for (Part part : parts) {
            part.addTo(sums);
        }
    }

    /** Makes parts for so many images, a whole number of tiles each but the last. */
    private void share(int count) {
        int pieces = Team.pieces(threads);
        int tiles = (count + FirstBlock.TILE - 1) / FirstBlock.TILE;
        perPart = (tiles + pieces - 1) / pieces * FirstBlock.TILE;
        int needed = (count + perPart - 1) / perPart;
        if (parts != null && parts.length == needed && parts[0].capacity >= perPart) {
            return;
        }
        parts = new Part[needed];
        Floats[] shapes = floats(gradients);
        for (int part = 0; part < needed; part++) {
            parts[part] = new Part(perPart, shapes);
        }
    }

    private static Floats[] floats(Tensor[] tensors) {
        Floats[] floats = new Floats[tensors.length];
        for (int i = 0; i < tensors.length; i++) {
            floats[i] = new Floats(tensors[i]);
        }
        return floats;
    }
}
