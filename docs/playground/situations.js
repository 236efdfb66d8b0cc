// Stages to begin with, and the lesson that goes further. An object is [cut-out, x, y, size, angle, mirrored].

export const BACKGROUNDS = {
  meadow: [[150, 170, 150], [112, 132, 84]],
  savanna: [[196, 186, 160], [164, 140, 96]],
  water: [[150, 176, 196], [84, 116, 140]],
  snow: [[214, 218, 222], [196, 200, 206]],
  night: [[52, 58, 72], [70, 66, 62]],
};

export const SITUATIONS = {
  forum: {
    title: "The forum's picture",
    story: "Someone took ResNet50v2's last convolution for Grad-CAM, as one does with VGG16, and asked whether it is the right layer. "
      + "In the drawing below it is a part. Choose the square behind it, the sum, and compare the share.",
    lesson: "05_why_is_resnets_last_conv_wrong",
    net: "resnet50_v2", class: "tiger", layer: "features.8.2.conv3", background: "meadow",
    objects: [["tiger_1.png", 72, 78, 120, -8, false], ["zebra_1.png", 150, 152, 112, 0, false]],
  },
  sum: {
    title: "Branch + shortcut",
    story: "A residual block adds what its branch found to what its shortcut kept. How much of the sum's map comes from each? Try the sums "
      + "of other blocks, the squares in the drawing.",
    lesson: "05_why_is_resnets_last_conv_wrong",
    net: "resnet50_v2", class: "lion", layer: "features.8.2", background: "savanna",
    objects: [["lion_1.png", 70, 168, 116, 0, false], ["african_elephant_1.png", 152, 74, 112, 0, true]],
  },
  absent: {
    title: "An absent class",
    story: "Nothing stops you from asking for the evidence for a class that is not in the scene. A map comes all the same: what does it say? Ask "
      + "VGG16 as well.",
    lesson: "03_where_does_vgg16_look",
    net: "resnet50_v2", class: "toucan", layer: "features.10", background: "meadow",
    objects: [["malamute_1.png", 78, 130, 120, 0, false], ["flamingo_1.png", 160, 100, 120, 0, false]],
  },
  cheater: {
    title: "The cheater",
    story: "This net learned to read the tag in the corner. The tag says king penguin. Take it away, or give it another class, and see what the "
      + "net says then.",
    lesson: "08_can_you_trust_it",
    net: "cheater", class: "king penguin", layer: "features.10", background: "snow", tag: "king penguin",
    objects: [["brown_bear_1.png", 100, 130, 130, 0, false], ["cock_1.png", 178, 140, 84, 0, false]],
  },
  guided: {
    title: "Guided, and blind?",
    story: "With all ReLUs guided the gradient looks like a drawing of the animals. Change the class: does the drawing change? Then move the "
      + "slider towards 0.",
    lesson: "07_why_is_resnets_image_gradient_unclear",
    net: "resnet50_v2", class: "zebra", layer: "features.10", background: "savanna", guided: 50,
    objects: [["tiger_1.png", 72, 78, 120, -8, false], ["zebra_1.png", 150, 152, 112, 0, false]],
  },
  vgg: {
    title: "VGG16",
    story: "A chain without shortcuts: every map is a whole one. The last one before the pooling is the usual choice.",
    lesson: "03_where_does_vgg16_look",
    net: "vgg16", class: "koala", layer: "features.29", background: "meadow",
    objects: [["koala_1.png", 76, 84, 112, 0, false], ["ram_1.png", 154, 150, 118, 0, false]],
  },
};
